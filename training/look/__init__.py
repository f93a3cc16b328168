"""The global part of the stylizer: one smooth color mapping per shot, estimated from two thumbnails."""
