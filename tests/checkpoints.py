"""The checkpoints that the repository ships; wheels carry only the bundles made from them."""

from __future__ import annotations

from pathlib import Path

MODELS = Path(__file__).parents[1] / "models"


def shipped_checkpoint(name: str) -> Path:
    """Return the checkpoint that a shipped bundle was exported from."""
    return MODELS / f"{name}.safetensors"
