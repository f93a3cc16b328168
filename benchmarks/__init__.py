"""Benchmarks that reproduce every table and figure of the paper: one module and one JSON result each."""
