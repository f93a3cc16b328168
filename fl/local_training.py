"""Local training, the edge's part of Algorithm 2: retrain the cloud's model on the edge's frames and styles.

Decoder and smoothing are trained; look network and VGG encoder are frozen. The spool is a folder with
``frames/`` (key frames from phones) and ``styles/`` (their style photos) as image files. Only parameters
leave the edge, never photos.
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

from fl.parameters import fingerprint, trained
from mvstylizer.errors import MVStylizerError
from training.checkpoint import load_checkpoint
from training.config import StepConfig
from training.photos import PhotoFolder
from training.step import Sources, make_optimizer, train_step
from training.stylizer import StylizerNetwork
from training.vgg import VggEncoder

FRAMES, STYLES = "frames", "styles"


class LocalTrainingError(MVStylizerError):
    """Training diverged, so the edge has no update in this round."""


@dataclass(frozen=True)
class LocalUpdate:
    """The result of local training.

    Attributes:
        parameters: Retrained parameters as named float32 arrays.
        frames: Number of frames in the spool, which is the update's weight in the average.
        losses: Each loss, averaged over the steps.
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
    server_round: int = 1,
    fedprox_mu: float = 0.0,
    pause: Callable[[], None] = lambda: None,
) -> LocalUpdate:
    """Retrain a model on a spool.

    Args:
        checkpoint: The model to start from.
        spool: Folder with ``frames/`` and ``styles/``.
        steps: Number of optimizer steps.
        config: Batch, crop, learning rate and the loss weights of Eq. 5.
        server_round: Number of the round, which seeds the random crops.
        fedprox_mu: Weight mu of the FedProx term, mu / 2 · |theta - start|².
        pause: Called before each step; may block while the machine is busy.

    Raises:
        CheckpointError: The checkpoint is missing or damaged.
        PhotoFolderError: The spool has fewer than two frames or no style.
        LocalTrainingError: A loss is not finite, or the model has no local part.
    """
    config = config or StepConfig()
    stylizer, _ = load_checkpoint(checkpoint)
    if stylizer.local is None:
        raise LocalTrainingError(
            f"{checkpoint} has no local part, which is what edges train", "Start with a whole mvstylizer"
        )
    stylizer.set_mixed(config.mixed)
    frames = PhotoFolder(spool / FRAMES, config.crop)
    sources = Sources(frames, PhotoFolder(spool / STYLES, config.crop, min_photos=1))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    stylizer.train().to(device)
    encoder = VggEncoder(mixed=config.mixed).to(device)
    optimizer = make_optimizer(stylizer, config)
    if fedprox_mu > 0:
        optimizer.register_step_pre_hook(_proximal_term(stylizer, fedprox_mu))
    seeded = replace(config, seed=config.seed + server_round)
    sums: dict[str, float] = {}
    for step in range(1, steps + 1):
        pause()
        losses = train_step(stylizer, encoder, optimizer, sources, seeded, step, device)
        if not all(map(math.isfinite, losses.values())):
            raise LocalTrainingError(
                f"Training on {spool} diverged at step {step}: {losses}", "Lower the learning rate"
            )
        sums = {name: sums.get(name, 0.0) + value for name, value in losses.items()}
    weights = {name: value.detach().cpu().numpy() for name, value in stylizer.state_dict().items()}
    parameters = dict(trained(weights))
    means = {name: total / steps for name, total in sums.items()}
    return LocalUpdate(parameters, len(frames.paths), means, fingerprint(parameters))


def _proximal_term(stylizer: StylizerNetwork, mu: float) -> Callable[..., Any]:
    """Return a hook that adds the gradient of the FedProx term, mu · (theta - start), before each step."""
    start = [value.detach().clone() for value in stylizer.parameters()]

    def add_gradient(*_: object) -> None:
        for value, origin in zip(stylizer.parameters(), start, strict=True):
            if value.grad is not None:
                value.grad.add_(value.detach() - origin, alpha=mu)

    return add_gradient
