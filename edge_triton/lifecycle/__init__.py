"""Supervision, rollout and rollback of model versions."""
