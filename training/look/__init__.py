"""The global part of the stylizer: one smooth color mapping per picture, estimated from two thumbnails."""
