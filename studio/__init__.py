"""A local web page for stylizing a video or photo and comparing the result with the original."""
