"""The checkpoints that the shipped bundles were exported from."""

from __future__ import annotations

from pathlib import Path

from training.look.checkpoint import LOOK_WEIGHTS

MODELS = Path(__file__).parents[1] / "models"


def shipped_checkpoint(name: str) -> Path:
    """Return the checkpoint of a shipped bundle; that of ``lite`` is the look network's."""
    return LOOK_WEIGHTS if name == "lite" else MODELS / f"{name}.safetensors"
