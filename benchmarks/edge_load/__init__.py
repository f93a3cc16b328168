"""Load, faults and roll-outs for a running edge."""
