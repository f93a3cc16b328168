"""Colour look-up tables of a shot."""
