"""Footage, photos, and the figures of the paper and of peers."""
