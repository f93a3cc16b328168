"""Decoding and encoding: containers, codecs, colour, orientation, photos."""
