"""A local page for stylizing: two files in, a result to compare with the original."""
