"""Stylizing a camera or a network stream."""
