"""Stylizers that run on the device, and requests to those that do not."""
