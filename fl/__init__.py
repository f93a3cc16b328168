"""Federated learning: edges retrain locally; the cloud aggregates, evaluates, releases and rolls out."""
