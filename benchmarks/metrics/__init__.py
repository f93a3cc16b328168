"""Image, distribution and cost metrics."""
