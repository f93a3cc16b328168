"""Masks: sky to sky, ground to ground."""
