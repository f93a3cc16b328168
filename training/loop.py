"""The training loop: from photos to a checkpoint.

The learning rate falls from the paper's 1e-4 (section 4.2) along a cosine. The look network is trained
before, by `training.look.loop`. A resumed run continues at its last checkpoint with the same losses as an
uninterrupted one.

Example:
    train(TrainConfig(photos=Path("photos"), out=Path("runs/mine.safetensors"), steps=20_000))
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext

import torch

from training import processes
from training.checkpoint import load_optimizer, restore, save_checkpoint, save_optimizer, start_with
from training.config import TrainConfig
from training.look.checkpoint import LOOK_WEIGHTS, load_look
from training.loss_log import LossLog
from training.photos import PhotoFolder
from training.run_card import write_card
from training.step import Sources, make_optimizer, train_step
from training.stylizer import StylizerNetwork
from training.vgg import VggEncoder

Progress = Callable[[int, dict[str, float]], None]


def train(config: TrainConfig, *, resume: bool = False, progress: Progress | None = None) -> PhotoFolder:
    """Train a stylizer; write checkpoint, losses and a card.

    Under `torchrun` every process trains (see `training.processes`) and the first one writes.

    Args:
        config: Options of the run.
        resume: Continue from the checkpoint at `config.out`.
        progress: Called after each step with the step number and its losses.

    Returns:
        The photos, with a list of those that were unreadable.

    Raises:
        PhotoFolderError: There are too few readable photos.
        CheckpointError: There is no checkpoint to resume or start from, or it does not fit.
    """
    with processes.joined() as device:
        return _train(config, device, resume, progress)


def _train(config: TrainConfig, device: str, resume: bool, progress: Progress | None) -> PhotoFolder:
    photos = PhotoFolder(config.photos, config.crop)
    torch.manual_seed(config.seed)
    start, stylizer = 0, StylizerNetwork(config.dims, mixed=config.mixed)
    if resume:
        start = restore(stylizer, config.out)
    elif config.start is not None:
        start_with(stylizer, config.start)
    else:
        stylizer.heads.network.load_state_dict(load_look(LOOK_WEIGHTS).state_dict())
    stylizer.train().to(device)
    loss_encoder = VggEncoder(mixed=config.mixed).to(device)
    optimizer = make_optimizer(stylizer, config)
    sources = Sources(photos, photos)
    if resume:
        load_optimizer(config.out, optimizer, start)
    writes = processes.is_first()
    with LossLog(config.out, start, config.tensorboard) if writes else nullcontext() as log:
        for step in range(start + 1, config.steps + 1):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, step)
            losses = train_step(stylizer, loss_encoder, optimizer, sources, config, step, device)
            if log is None:
                continue
            log.write(step, losses)
            if progress is not None:
                progress(step, losses)
            if step % config.save_every == 0 or step == config.steps:
                save_checkpoint(config.out, stylizer, step, config.as_dict())
                save_optimizer(config.out, optimizer, step)
    if writes and start < config.steps:
        write_card(config, stylizer, photos)
    return photos


def learning_rate(config: TrainConfig, step: int) -> float:
    """Return the learning rate of a step: a cosine from `learning_rate` to a tenth of it."""
    cosine = (1 + math.cos(math.pi * step / config.steps)) / 2
    return config.learning_rate * (0.1 + 0.9 * cosine)
