"""Decoding and encoding: containers, codecs, color, orientation, photos."""
