"""The simulated federation of Figure 7."""
