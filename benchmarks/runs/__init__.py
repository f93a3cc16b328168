"""Runs of the whole pipeline and of methods over photos, which several benchmarks share."""
