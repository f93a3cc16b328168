"""The client of an edge: all that a phone imports of this package."""
