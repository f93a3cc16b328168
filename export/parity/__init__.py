"""Exported files compared with PyTorch or with a NumPy reference."""
