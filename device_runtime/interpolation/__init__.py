"""Intermediate frames from key frames and motion."""
