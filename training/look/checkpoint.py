"""Checkpoints of the look network: the averaged weights to use, and what a resumed run needs.

``NAME.safetensors`` holds the weights in half precision. ``NAME.resume.safetensors`` holds the weights being
trained, their running average and Adam's moments in float32. Both are written under another name and renamed,
so an interrupted save leaves the previous one.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from training.look.network import LookNetwork

FORMAT = "mvstylizer.look/1"
LOOK_WEIGHTS = Path(__file__).parents[1] / "weights" / "look.safetensors"
State = dict[str, Tensor]


def save_look(path: Path, weights: State, step: int) -> None:
    """Write weights in half precision, with the step in the header."""
    _save({k: v.half().contiguous() for k, v in weights.items()}, path, {"format": FORMAT, "step": str(step)})


def load_look(path: Path) -> LookNetwork:
    """Load a look network in evaluation mode.

    Raises:
        ValueError: The file is missing, damaged, of another format, or of another network.
    """
    tensors, header = _load(path)
    if header.get("format") != FORMAT:
        raise ValueError(f"{path} does not hold a look network")
    network = LookNetwork()
    try:
        network.load_state_dict({k: v.float() for k, v in tensors.items()})
    except RuntimeError as err:
        raise ValueError(f"{path} does not fit this look network: {err}") from err
    return network.eval()


def resume_path(checkpoint: Path) -> Path:
    """Return where the state of the run that writes `checkpoint` is kept."""
    return checkpoint.with_suffix(".resume.safetensors")


def save_run(
    checkpoint: Path, network: LookNetwork, average: State, adam: torch.optim.Adam, step: int
) -> None:
    """Write both files of a checkpoint."""
    state = {f"network.{k}": v.detach() for k, v in network.state_dict().items()}
    state |= {f"average.{k}": v for k, v in average.items()}
    for index, moments in adam.state_dict()["state"].items():
        state |= {f"adam.{index}.{k}": v for k, v in moments.items()}
    _save({k: v.contiguous().clone() for k, v in state.items()}, resume_path(checkpoint), {"step": str(step)})
    save_look(checkpoint, average, step)


def restore_run(checkpoint: Path, network: LookNetwork, average: State, adam: torch.optim.Adam) -> int:
    """Load the state that `save_run` wrote and return its step.

    Raises:
        ValueError: The file is missing or damaged.
    """
    tensors, header = _load(resume_path(checkpoint))
    groups: dict[str, State] = {"network": {}, "average": {}, "adam": {}}
    for name, value in tensors.items():
        group, key = name.split(".", 1)
        groups[group][key] = value
    network.load_state_dict(groups["network"])
    average.update(groups["average"])
    moments: dict[int, State] = {}
    for name, value in groups["adam"].items():
        index, key = name.split(".")
        moments.setdefault(int(index), {})[key] = value
    adam.load_state_dict({"state": moments, "param_groups": adam.state_dict()["param_groups"]})
    return int(header["step"])


def _save(tensors: State, path: Path, header: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(path.suffix + ".part")
    save_file(tensors, part, metadata=header)
    part.replace(path)


def _load(path: Path) -> tuple[State, dict[str, str]]:
    if not path.is_file():
        raise ValueError(f"{path} does not exist")
    try:
        with safe_open(path, framework="pt") as stored:
            return {k: stored.get_tensor(k) for k in stored.keys()}, stored.metadata() or {}  # noqa: SIM118
    except SafetensorError as err:
        raise ValueError(f"{path} is damaged: {err}") from err
