"""Color lookup tables (LUTs)."""
