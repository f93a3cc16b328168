"""Checkpoints: safetensors with the trainable weights, and in the header what they are.

A checkpoint carries its dimensions and its step, so a file alone is enough to rebuild the stylizer. What only
a resumed run needs (Adam's moments) lies beside it in ``NAME.optimizer.safetensors``. Both are written beside
and renamed: an interrupted save leaves the previous one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mvstylizer.errors import MVStylizerError
from training.options import StylizerDims
from training.stylizer import StylizerNetwork

FORMAT = "mvstylizer.checkpoint/1"


class CheckpointError(MVStylizerError):
    """A checkpoint is missing, damaged or of another kind."""


@dataclass(frozen=True)
class CheckpointInfo:
    """What a checkpoint says of itself."""

    dims: StylizerDims
    step: int
    train: dict[str, Any]


def save_checkpoint(path: Path, stylizer: StylizerNetwork, step: int, train: dict[str, Any]) -> None:
    """Write the trainable weights (float32), dimensions, step and training options."""
    header = {
        "format": FORMAT,
        "dims": json.dumps(stylizer.dims.as_dict()),
        "step": str(step),
        "train": json.dumps(train),
    }
    _save({k: v.detach().float().contiguous() for k, v in stylizer.state_dict().items()}, path, header)


def load_checkpoint(path: Path) -> tuple[StylizerNetwork, CheckpointInfo]:
    """Rebuild a stylizer (evaluation mode) from a checkpoint.

    Raises:
        CheckpointError: Missing, damaged, of another format, or with weights that do not fit.
    """
    info = read_info(path)
    stylizer = StylizerNetwork(info.dims)
    restore(stylizer, path)
    return stylizer.eval(), info


def read_info(path: Path) -> CheckpointInfo:
    """Read what a checkpoint says of itself.

    Raises:
        CheckpointError: Missing, damaged or of another format.
    """
    _, header = _load(path)
    if header.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is no stylizer checkpoint", "Name a file that `mvstylizer train` wrote"
        )
    known = {f.name for f in fields(StylizerDims)}
    dims = {k: v for k, v in json.loads(header["dims"]).items() if k in known}
    return CheckpointInfo(StylizerDims(**dims), int(header["step"]), json.loads(header["train"]))


def restore(stylizer: StylizerNetwork, path: Path) -> int:
    """Load a checkpoint's weights into a stylizer of the same dimensions and return its step.

    Raises:
        CheckpointError: As `read_info`, or the weights do not fit.
    """
    info = read_info(path)
    tensors, _ = _load(path)
    try:
        stylizer.load_state_dict(tensors)
    except RuntimeError as err:
        raise CheckpointError(
            f"{path} does not fit this stylizer: {err}", "Train again, or use the version that wrote it"
        ) from err
    return info.step


def optimizer_path(checkpoint: Path) -> Path:
    """Return where the optimizer's state of a checkpoint lies."""
    return checkpoint.with_suffix(".optimizer.safetensors")


def save_optimizer(checkpoint: Path, optimizer: torch.optim.Adam, step: int) -> None:
    """Write Adam's moments beside the checkpoint."""
    state = optimizer.state_dict()["state"]
    tensors = {
        f"{index}.{key}": value.contiguous() for index, row in state.items() for key, value in row.items()
    }
    _save(tensors, optimizer_path(checkpoint), {"step": str(step)})


def load_optimizer(checkpoint: Path, optimizer: torch.optim.Adam, step: int) -> None:
    """Restore Adam's moments that belong to `step` of a checkpoint.

    Raises:
        CheckpointError: They are missing, or belong to another step.
    """
    tensors, header = _load(optimizer_path(checkpoint))
    if int(header["step"]) != step:
        raise CheckpointError(
            f"{optimizer_path(checkpoint)} is of step {header['step']}, the checkpoint of step {step}",
            "Start again without --resume",
        )
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split(".")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _save(tensors: dict[str, Tensor], path: Path, header: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(path.suffix + ".part")
    save_file(tensors, part, metadata=header)
    part.replace(path)


def _load(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist", "Name a checkpoint that `mvstylizer train` wrote")
    try:
        with safe_open(path, framework="pt") as stored:
            return {k: stored.get_tensor(k) for k in stored.keys()}, stored.metadata() or {}  # noqa: SIM118
    except SafetensorError as err:
        raise CheckpointError(f"{path} is damaged: {err}", "Use another checkpoint") from err
