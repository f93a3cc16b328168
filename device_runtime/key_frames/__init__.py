"""Which frames become key frames."""
