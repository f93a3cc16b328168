"""Optical flow and motion-compensated similarity."""
