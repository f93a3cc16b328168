"""Every table and figure of the paper, measured again: one file a bench, one JSON a result."""
