"""A stylizer of your own: see model.py, and README.md for what to do with it."""
