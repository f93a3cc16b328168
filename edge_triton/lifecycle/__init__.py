"""Supervision, roll-out and rollback of model versions."""
