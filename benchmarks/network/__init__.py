"""An emulated network: a real TCP connection with the delay, rate and window of a slow link."""
