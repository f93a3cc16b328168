"""Stylize many files in one run."""
