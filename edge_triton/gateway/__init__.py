"""What phones reach: validation, admission, and the channel to Triton."""
