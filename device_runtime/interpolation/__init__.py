"""Intermediate frames, interpolated from key frames and motion."""
