"""An edge's part of Algorithm 2: retrain on the frames and styles it saw, starting from the cloud's model.

Decoder, colorization and smoothing train; the encoder is frozen. The spool is a folder with ``frames/`` (key
frames that phones sent) and ``styles/`` (style photos they asked for), plain image files; nothing of it
leaves the edge but the parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fl.parameters import fingerprint
from mvstylizer.errors import MVStylizerError
from training.checkpoint import load_checkpoint
from training.config import StepConfig
from training.photos import PhotoFolder
from training.step import Sources, make_optimizer, train_step
from training.stylizer import StylizerNetwork
from training.vgg import VggEncoder

FRAMES, STYLES = "frames", "styles"


class SiteError(MVStylizerError):
    """An edge cannot take part in this round."""


@dataclass(frozen=True)
class SiteUpdate:
    """What an edge sends back.

    Attributes:
        parameters: The retrained parameters, named float32 arrays.
        frames: Frames in the spool, the weight in the average.
        losses: Each loss, mean over the steps.
        sha256: `fl.parameters.fingerprint` of the parameters.
    """

    parameters: dict[str, NDArray[np.float32]]
    frames: int
    losses: dict[str, float]
    sha256: str


def retrain(
    checkpoint: Path,
    spool: Path,
    *,
    steps: int,
    config: StepConfig | None = None,
    turn: int = 1,
    proximal: float = 0.0,
    pause: Callable[[], None] = lambda: None,
) -> SiteUpdate:
    """Retrain a model on a spool.

    Args:
        checkpoint: The model to start from.
        spool: Folder with ``frames/`` and ``styles/``.
        steps: Optimizer steps.
        config: Batch, crop, learning rate and Eq. 5's weights.
        turn: The round's number: each round draws other crops.
        proximal: FedProx's mu: the pull back to the start, mu / 2 · |theta - start|².
        pause: Called before each step; returns when the machine has nothing better to do.

    Raises:
        CheckpointError: No such checkpoint, or a damaged one.
        PhotoFolderError: The spool lacks frames (two at least) or styles (one at least).
        SiteError: A loss is no number.
    """
    config = config or StepConfig()
    stylizer, _ = load_checkpoint(checkpoint)
    stylizer.set_mixed(config.mixed)
    frames = PhotoFolder(spool / FRAMES, config.crop)
    sources = Sources(frames, PhotoFolder(spool / STYLES, config.crop, min_photos=1))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    stylizer.train().to(device)
    judge = VggEncoder(mixed=config.mixed).to(device)
    optimizer = make_optimizer(stylizer, config)
    if proximal > 0:
        optimizer.register_step_pre_hook(_pull_to_start(stylizer, proximal))
    sums: dict[str, float] = {}
    for step in range(1, steps + 1):
        pause()
        turned = replace(config, seed=config.seed + turn)
        losses = train_step(stylizer, judge, optimizer, sources, turned, step, device)
        if not all(map(math.isfinite, losses.values())):
            raise SiteError(f"Step {step} on {spool} gives the losses {losses}", "Lower the learning rate")
        sums = {name: sums.get(name, 0.0) + value for name, value in losses.items()}
    parameters = {name: value.detach().cpu().numpy() for name, value in stylizer.state_dict().items()}
    means = {name: total / steps for name, total in sums.items()}
    return SiteUpdate(parameters, len(frames.paths), means, fingerprint(parameters))


def _pull_to_start(stylizer: StylizerNetwork, proximal: float) -> Callable[..., Any]:
    """Return a hook that adds the proximal term's gradient, mu·(theta - start), before each step."""
    start = [value.detach().clone() for value in stylizer.parameters()]

    def pull(*_: object) -> None:
        for value, origin in zip(stylizer.parameters(), start, strict=True):
            if value.grad is not None:
                value.grad.add_(value.detach() - origin, alpha=proximal)

    return pull
