"""Comparisons of exported files with PyTorch or with a NumPy reference."""
