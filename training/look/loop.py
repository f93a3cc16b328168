"""Training of the look network: `python -m training.look.loop --photos DIR --luts FILE --out CHECKPOINT`.

Batch and learning rate of step k follow from the seed and k alone, so a resumed run continues exactly.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from training.look.basis import principal_basis
from training.look.checkpoint import State, restore_run, save_run
from training.look.data import Split, split, stored_thumbnails
from training.look.gradings import GradingSampler
from training.look.loss import Batch, color_density, draw_batch, look_loss
from training.look.lut import apply_lut
from training.look.network import SCENE, LookNetwork
from training.look.scene import cached_scenes

WARM_UP = 200  # steps over which the learning rate rises
AVERAGE = 0.998  # decay of the running average of the weights
CASES = 256  # held-out cases measured during training


@dataclass(frozen=True)
class Options:
    """How to train.

    Attributes:
        steps: Steps of the whole run.
        batch: Pairs per step.
        rate: Highest learning rate of Adam; it decays to zero over a half cosine.
        seed: Of weights and batches.
        mixed: Run the convolutions in bfloat16.
        save_every: Steps between checkpoints, each with a line in the log.
    """

    steps: int = 5000
    batch: int = 32
    rate: float = 2e-3
    seed: int = 0
    mixed: bool = True
    save_every: int = 500


class Trainer:
    """One run: network, running average, Adam, and data.

    Args:
        data: Photos and LUTs.
        options: How to train.
        scenes: Scene vector of each stored thumbnail, K×`SCENE`; without it, none are learned.
    """

    def __init__(self, data: Split, options: Options, scenes: Tensor | None = None) -> None:
        torch.manual_seed(options.seed)
        self.options, self.step = options, 0
        self.thumbnails, self.sampler = stored_thumbnails(data.train_photos), GradingSampler(data.train_luts)
        self.scenes = torch.zeros(0, SCENE) if scenes is None else scenes
        self.density = color_density(self.thumbnails)
        self.network = LookNetwork()
        self.network.encoder.mixed = options.mixed
        self.network.basis.data = principal_basis(data.train_luts, self.density)
        self.average: State = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        self.adam = torch.optim.Adam(self.network.parameters(), betas=(0.9, 0.98))
        self.cases = test_cases(data)

    def train_step(self) -> float:
        """Take one step and return the mean PSNR of its batch, dB."""
        generator = torch.Generator().manual_seed(self.options.seed * 1_000_003 + self.step)
        batch = draw_batch(self.thumbnails, self.sampler, self.options.batch, generator)
        for group in self.adam.param_groups:
            group["lr"] = learning_rate(self.options, self.step)
        loss, error = look_loss(self.network, batch, self.density, self.scenes)
        self.adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.adam.step()
        self.step += 1
        decay = min(AVERAGE, self.step / (self.step + 10))
        for name, value in self.network.state_dict().items():
            self.average[name].lerp_(value, 1 - decay)
        return psnr(error)

    @torch.no_grad()
    def held_out(self) -> float:
        """Return the mean PSNR of the averaged weights on held-out thumbnails, dB."""
        network = LookNetwork()
        network.load_state_dict(self.average)
        lut = torch.cat([network(c, s)[0] for c, s in _chunks(self.cases)])
        result = apply_lut(lut, self.cases.content).clamp(0, 1)
        return psnr((result - self.cases.truth).square().mean((1, 2, 3)))


def learning_rate(options: Options, step: int) -> float:
    """Return the learning rate of a step: a linear rise, then a half cosine to zero."""
    fall = 0.5 * (1 + math.cos(math.pi * step / options.steps))
    return options.rate * min(1.0, (step + 1) / WARM_UP) * fall


def psnr(error: Tensor) -> float:
    """Return the mean peak signal-to-noise ratio of mean squared errors, dB."""
    return float((-10 * error.clamp(min=1e-6).log10()).mean())


def test_cases(data: Split) -> Batch:
    """Return fixed held-out cases: ungraded photos, other photos under held-out LUTs, and the answers."""
    generator = torch.Generator().manual_seed(7)
    photos = stored_thumbnails(data.test_photos)[: len(data.test_photos), :, 8:-8, 8:-8].float() / 255
    index = torch.arange(CASES)
    content = photos[index % len(photos)]
    other = 1 + torch.randint(len(photos) - 1, (CASES,), generator=generator)
    grading = data.test_luts[index % len(data.test_luts)]
    style = apply_lut(grading, photos[(index + other) % len(photos)])
    ungraded = torch.ones(CASES, dtype=torch.bool)
    return Batch(content, style, apply_lut(grading, content), grading, index, ungraded)


def train(trainer: Trainer, out: Path) -> None:
    """Run to the last step, with a line of progress at every checkpoint."""
    options, began, total = trainer.options, time.monotonic(), 0.0
    first = trainer.step
    while trainer.step < options.steps:
        total += trainer.train_step()
        if trainer.step % options.save_every and trainer.step < options.steps:
            continue
        save_run(out, trainer.network, trainer.average, trainer.adam, trainer.step)
        seconds, mean = time.monotonic() - began, total / max(1, trainer.step - first)
        line = f"step {trainer.step} train {mean:.2f} held-out {trainer.held_out():.2f} dB {seconds:.0f} s"
        print(line, flush=True)  # noqa: T201
        total, first = 0.0, trainer.step


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of photos")
    parser.add_argument("--luts", type=Path, required=True, help=".npz file of grading LUTs")
    parser.add_argument("--vgg", type=Path, help="VGG16 weights to conv5_3, for scene vectors")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint to write")
    parser.add_argument("--steps", type=int, default=Options.steps)
    parser.add_argument("--batch", type=int, default=Options.batch)
    parser.add_argument("--rate", type=float, default=Options.rate)
    parser.add_argument("--seed", type=int, default=Options.seed)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    options = Options(args.steps, args.batch, args.rate, args.seed)
    data = split(args.photos, args.luts)
    scenes = cached_scenes(data.train_photos, args.vgg, args.out) if args.vgg else None
    trainer = Trainer(data, options, scenes)
    if args.resume:
        trainer.step = restore_run(args.out, trainer.network, trainer.average, trainer.adam)
    train(trainer, args.out)


def _chunks(cases: Batch) -> zip[tuple[Tensor, Tensor]]:
    return zip(torch.split(cases.content, 64), torch.split(cases.style, 64), strict=True)


if __name__ == "__main__":
    main()
