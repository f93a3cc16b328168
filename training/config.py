"""What a training run is told: one step's weights and sizes, and the run around it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from training.options import StylizerDims


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
        tensorboard: Folder of TensorBoard events; None writes none.
    """

    photos: Path
    out: Path
    steps: int = 20_000
    save_every: int = 500
    dims: StylizerDims = field(default_factory=StylizerDims)
    teacher: Path | None = None
    start: Path | None = None
    tensorboard: Path | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the options as plain JSON types, without paths: they say nothing about the result."""
        row = asdict(self)
        for name in ("photos", "out", "dims", "teacher", "start", "tensorboard"):
            del row[name]
        return row
