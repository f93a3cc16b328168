"""Footage and photos, the paper's figures, and other methods (peers)."""
