"""Key-frame policies and scene cuts."""
