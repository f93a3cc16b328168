"""Registry, timing, result files, comparison and report."""
