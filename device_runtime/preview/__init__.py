"""A short look before a run: a few frames at several matches and strengths."""
