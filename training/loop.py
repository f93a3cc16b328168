"""The training loop: photos to checkpoint, on one page.

A batch holds three kinds of samples. *Look pairs*: two random looks of one photo, whose answer is known,
under L1; the first of them is a photo in its own style, whose answer is itself. *Unrelated pairs*: any photo
as content, any other as style, under Eq. 5 with lambda = 1 plus the structure term. With a *teacher*, its
picture of every sample is the answer (distillation: how `lite` learns). Adam with beta = (0.5, 0.999) and
learning rate 1e-4 (paper section 4.2), cosine-decayed.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from training.affine import apply_map
from training.checkpoint import load_checkpoint, load_optimizer, restore, save_checkpoint, save_optimizer
from training.grading import apply_grade
from training.looks import Look
from training.loss import map_roughness, perceptual, structure_loss
from training.options import StylizerDims
from training.photos import PhotoFolder
from training.stylizer import GRADING_SHRINK, Stylizer, resize
from training.vgg import VggEncoder


@dataclass(frozen=True, kw_only=True)
class StepConfig:
    """What one step needs to know. The defaults are the paper's where it gives a figure.

    Attributes:
        batch: Samples a step, a third of them look pairs, the rest unrelated (at least 2).
        crop: Side of a crop in pixels, a multiple of 8.
        learning_rate: Adam's; `train` lets it fall to a tenth over the run.
        style_weight: Eq. 5's lambda.
        content_weight: Weight of Eq. 5's content part: 1 in the paper; less where structure_weight guards it.
        structure_weight: Weight of `structure_loss`.
        look_weight: Weight of the look pairs' L1.
        roughness_weight: Weight of `map_roughness`.
        range_weight: Weight of what the finish clips.
        teacher_weight: Weight of the L1 to a teacher's picture, where there is one.
        grade_only: Train the grading alone, without the local correction: cheap, and most of the picture.
        seed: Seed of everything random.
        mixed: Convolutions in bfloat16.
    """

    batch: int = 2
    crop: int = 128
    learning_rate: float = 1e-4
    style_weight: float = 1.0
    content_weight: float = 1.0
    structure_weight: float = 1.0
    look_weight: float = 4.0
    roughness_weight: float = 20.0
    range_weight: float = 2.0
    teacher_weight: float = 10.0
    grade_only: bool = False
    seed: int = 0
    mixed: bool = False


@dataclass(frozen=True)
class TrainConfig(StepConfig):
    """A run.

    Attributes:
        photos: Folder of photos, content and style alike.
        out: Checkpoint to write.
        steps: Length of the run.
        save_every: Steps between checkpoints.
        dims: The stylizer's dimensions.
        teacher: Checkpoint of the stylizer to learn from; None = from the losses alone.
        start: Checkpoint whose weights the run starts from.
    """

    photos: Path
    out: Path
    steps: int = 20_000
    save_every: int = 500
    dims: StylizerDims = field(default_factory=StylizerDims)
    teacher: Path | None = None
    start: Path | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the options as plain JSON types, without paths: they say nothing about the result."""
        row = asdict(self)
        for name in ("photos", "out", "dims", "teacher", "start"):
            del row[name]
        return row


class Sources(NamedTuple):
    """Where a batch's photos come from: one folder twice, or an edge's frames and the styles asked of it."""

    contents: PhotoFolder
    styles: PhotoFolder


Progress = Callable[[int, dict[str, float]], None]


def train(config: TrainConfig, *, resume: bool = False, progress: Progress | None = None) -> Path:
    """Train a stylizer and return its checkpoint; losses go to ``NAME.log.jsonl`` beside it.

    Args:
        config: The run.
        resume: Go on from the last checkpoint at `config.out`; the loss curve is that of an unbroken run.
        progress: Called after each step with the step number and its losses.

    Raises:
        PhotoFolderError: Nothing to train on.
        CheckpointError: Nothing to resume from.
    """
    photos = PhotoFolder(config.photos, config.crop)
    torch.manual_seed(config.seed)
    start, stylizer = 0, Stylizer(config.dims, mixed=config.mixed)
    if resume:
        start = restore(stylizer, config.out)
    elif config.start is not None:
        restore(stylizer, config.start)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    stylizer.train().to(device)
    judge = VggEncoder(mixed=config.mixed).to(device)
    teacher = _teacher(config, device)
    optimizer = make_optimizer(stylizer, config)
    sources = Sources(photos, photos)
    if resume:
        load_optimizer(config.out, optimizer, start)
    with _open_log(config.out, start) as lines:
        for step in range(start + 1, config.steps + 1):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, step)
            losses = train_step(stylizer, judge, optimizer, sources, config, step, device, teacher)
            lines.write(json.dumps({"step": step, "time": round(time.time(), 1), **losses}) + "\n")
            if progress is not None:
                progress(step, losses)
            if step % config.save_every == 0 or step == config.steps:
                save_checkpoint(config.out, stylizer, step, config.as_dict())
                save_optimizer(config.out, optimizer, step)
    return config.out


def _open_log(checkpoint: Path, start: int) -> TextIO:
    """Open the loss log for appending, less what an interrupted run wrote after its last checkpoint."""
    log = checkpoint.with_suffix(".log.jsonl")
    log.parent.mkdir(parents=True, exist_ok=True)
    kept = log.read_text().splitlines(keepends=True)[:start] if start and log.is_file() else []
    log.write_text("".join(kept))
    return log.open("a", buffering=1)  # a line at a time: whoever watches sees each step


def make_optimizer(stylizer: Stylizer, config: StepConfig) -> torch.optim.Adam:
    """Return Adam over everything that trains: the encoder's weights are buffers."""
    return torch.optim.Adam(stylizer.parameters(), lr=config.learning_rate, betas=(0.5, 0.999))


def learning_rate(config: TrainConfig, step: int) -> float:
    """Return the learning rate of a step: cosine from `learning_rate` to a tenth of it."""
    cosine = (1 + math.cos(math.pi * step / config.steps)) / 2
    return config.learning_rate * (0.1 + 0.9 * cosine)


def train_step(
    stylizer: Stylizer,
    judge: VggEncoder,
    optimizer: torch.optim.Adam,
    sources: Sources,
    config: StepConfig,
    step: int,
    device: str,
    teacher: Stylizer | None = None,
) -> dict[str, float]:
    """Draw a batch by (seed, step), take one optimizer step and return the losses."""
    content, style, target = (x.to(device) for x in draw(sources, config, step))
    code = _code(stylizer, style)
    if config.grade_only:
        stylized, grade = stylizer.recolour(content, code)
    else:
        stylized, grade = stylizer.decode(content, code)
    affine_map = stylizer.finish(content, stylized, grade)
    output = apply_map(affine_map, content)
    pairs = target.shape[0]
    losses = {
        "look": F.l1_loss(output[:pairs], target),
        "structure": structure_loss(output[pairs:], content[pairs:]),
        "roughness": map_roughness(affine_map),
        "range": (stylized - stylized.clamp(0, 1)).abs().mean(),
    }
    if teacher is not None:
        losses["teacher"] = F.l1_loss(output, _picture(teacher, content, style))
    else:
        graded = apply_grade(grade, content).clamp(0, 1).detach()
        eq5 = perceptual(judge, graded[pairs:], style[pairs:], output[pairs:])
        losses |= {"content": eq5.content, "style": eq5.style}
    total = torch.stack([getattr(config, f"{name}_weight") * value for name, value in losses.items()]).sum()
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(total)
    torch.nn.utils.clip_grad_norm_(stylizer.parameters(), 5.0)
    optimizer.step()
    return {k: round(float(v.detach()), 6) for k, v in {"total": total, **losses}.items()}


def draw(sources: Sources, config: StepConfig, step: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return content and style (B×3×crop×crop) and the look pairs' target (B//3×3×crop×crop, at least 1)."""
    rng = np.random.default_rng((config.seed, step))
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    pairs = max(1, config.batch // 3)
    here, there = sources.contents.batch(pairs, rng)
    before, after = Look(pairs, generator)(here), Look(pairs, generator)
    seen, answer = after(there), after(here)
    if pairs > 1 or step % 4 == 0:  # a photo in its own style is its own answer
        seen[0], answer[0] = before[0], before[0]
    content, _ = sources.contents.batch(config.batch - pairs, rng)
    style, _ = sources.styles.batch(config.batch - pairs, rng)
    return torch.cat([before, content]), torch.cat([seen, style]), answer


def _code(stylizer: Stylizer, style: Tensor) -> Tensor:
    """Encode styles at the size at which the grading sees contents, as a deployed stylizer does."""
    height, width = style.shape[2:]
    return stylizer.encode_style(resize(style, (height // GRADING_SHRINK, width // GRADING_SHRINK)))


def _teacher(config: TrainConfig, device: str) -> Stylizer | None:
    if config.teacher is None:
        return None
    teacher, _ = load_checkpoint(config.teacher)
    teacher.set_mixed(config.mixed)
    return teacher.to(device)


@torch.no_grad()
def _picture(stylizer: Stylizer, content: Tensor, style: Tensor) -> Tensor:
    return apply_map(stylizer.affine_map(content, _code(stylizer, style)), content)
