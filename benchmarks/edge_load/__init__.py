"""Load, faults and rollouts for a running edge."""
