"""Stylizers that run on the device, and requests to remote ones."""
