"""Checkpoints: safetensors with the weights (but VGG's), dimensions and step in the header.

A checkpoint is enough to rebuild the stylizer. Adam's moments, which only a resumed run needs, are in
``NAME.optimizer.safetensors`` next to it. Both files are written under another name and renamed, so an
interrupted save keeps the previous version.

Example:
    stylizer, info = load_checkpoint(Path("runs/mine.safetensors"))
    print(info.step, info.dims.variant)
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
from training.look.checkpoint import FORMAT as LOOK_FORMAT
from training.options import StylizerDims
from training.stylizer import StylizerNetwork

FORMAT = "mvstylizer.checkpoint/2"


class CheckpointError(MVStylizerError):
    """A checkpoint is missing, damaged, or has another format or other weights."""


@dataclass(frozen=True)
class CheckpointInfo:
    """The header of a checkpoint.

    Attributes:
        dims: Dimensions of the stylizer.
        step: Training steps so far.
        train: Options of the training run.
    """

    dims: StylizerDims
    step: int
    train: dict[str, Any]


def save_checkpoint(path: Path, stylizer: StylizerNetwork, step: int, train: dict[str, Any]) -> None:
    """Write the weights (float32; VGG's are not part of it), dimensions, step and training options."""
    header = {
        "format": FORMAT,
        "dims": json.dumps(stylizer.dims.as_dict()),
        "step": str(step),
        "train": json.dumps(train),
    }
    _save({k: v.detach().float().contiguous() for k, v in stylizer.state_dict().items()}, path, header)


def load_checkpoint(path: Path) -> tuple[StylizerNetwork, CheckpointInfo]:
    """Rebuild a stylizer (evaluation mode) from a checkpoint.

    Args:
        path: A stylizer's checkpoint, or that of a look network, which is a ``lite`` stylizer.

    Raises:
        CheckpointError: The file is missing, damaged or of another format, or its weights do not fit.
    """
    info = read_info(path)
    stylizer = StylizerNetwork(info.dims)
    restore(stylizer, path)
    return stylizer.eval(), info


def build(path: Path) -> StylizerNetwork:
    """Return the stylizer of a checkpoint, for ``mvstylizer export training.checkpoint:build``.

    Raises:
        CheckpointError: See `load_checkpoint`.
    """
    return load_checkpoint(path)[0]


def read_info(path: Path) -> CheckpointInfo:
    """Read the header of a checkpoint.

    Raises:
        CheckpointError: The file is missing, damaged or of another format.
    """
    _, header = _load(path)
    if header.get("format") == LOOK_FORMAT:
        return CheckpointInfo(StylizerDims(variant="lite"), int(header["step"]), {})
    found, (family, version) = header.get("format", ""), FORMAT.split("/")
    if found != FORMAT and found.startswith(f"{family}/"):
        raise CheckpointError(
            f"{path} has checkpoint format {found.removeprefix(f'{family}/')}; this version reads {version}",
            "Update mvstylizer, or use the version that wrote the checkpoint",
        )
    if found != FORMAT:
        raise CheckpointError(
            f"{path} is not a stylizer checkpoint", "Name a file written by `mvstylizer train`"
        )
    known = {f.name for f in fields(StylizerDims)}
    dims = {k: v for k, v in json.loads(header["dims"]).items() if k in known}
    return CheckpointInfo(StylizerDims(**dims), int(header["step"]), json.loads(header["train"]))


def restore(stylizer: StylizerNetwork, path: Path) -> int:
    """Load a checkpoint's weights into a stylizer of the same dimensions and return its step.

    Raises:
        CheckpointError: See `read_info`; or the weights do not fit.
    """
    info = read_info(path)
    tensors, header = _load(path)
    if header.get("format") == LOOK_FORMAT:
        tensors = {f"heads.network.{name}": value.float() for name, value in tensors.items()}
    try:
        stylizer.load_state_dict(tensors)
    except RuntimeError as err:
        raise CheckpointError(
            f"{path} does not fit this stylizer: {err}",
            "Train again, or use the version of mvstylizer that wrote it",
        ) from err
    return info.step


def start_with(stylizer: StylizerNetwork, path: Path) -> None:
    """Load the weights to start from: a whole stylizer's, or those of a look network alone.

    Raises:
        CheckpointError: See `restore`.
    """
    if read_info(path).dims.variant == "mvstylizer":
        restore(stylizer, path)
    else:
        look, _ = load_checkpoint(path)
        stylizer.heads.load_state_dict(look.heads.state_dict())


def optimizer_path(checkpoint: Path) -> Path:
    """Return the path of a checkpoint's optimizer state."""
    return checkpoint.with_suffix(".optimizer.safetensors")


def save_optimizer(checkpoint: Path, optimizer: torch.optim.Adam, step: int) -> None:
    """Write Adam's moments next to the checkpoint."""
    state = optimizer.state_dict()["state"]
    tensors = {
        f"{index}.{key}": value.contiguous() for index, row in state.items() for key, value in row.items()
    }
    _save(tensors, optimizer_path(checkpoint), {"step": str(step)})


def load_optimizer(checkpoint: Path, optimizer: torch.optim.Adam, step: int) -> None:
    """Restore Adam's moments at `step` of a checkpoint.

    Raises:
        CheckpointError: They are missing, or from another step.
    """
    tensors, header = _load(optimizer_path(checkpoint))
    if int(header["step"]) != step:
        raise CheckpointError(
            f"{optimizer_path(checkpoint)} is from step {header['step']}, the checkpoint from step {step}",
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
        raise CheckpointError(f"{path} does not exist", "Name a checkpoint written by `mvstylizer train`")
    try:
        with safe_open(path, framework="pt") as stored:
            return {k: stored.get_tensor(k) for k in stored.keys()}, stored.metadata() or {}  # noqa: SIM118
    except SafetensorError as err:
        raise CheckpointError(f"{path} is damaged: {err}", "Use another checkpoint") from err
