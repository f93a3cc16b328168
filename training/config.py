"""Options of a training step and of a training run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from training.options import StylizerDims


@dataclass(frozen=True, kw_only=True)
class StepConfig:
    """Options of one step. The defaults are the paper's values where it states them.

    Attributes:
        batch: Samples per step, at least 2: a third look pairs, the rest unrelated pairs.
        crop: Side of a crop in pixels, a multiple of the grid's cell.
        learning_rate: Initial learning rate of Adam; `train` lowers it to a tenth over the run.
        style_weight: lambda of Eq. 5.
        content_weight: Weight of the content part of Eq. 5: 1 in the paper, less if structure_weight is set.
        structure_weight: Weight of `structure_loss`.
        look_weight: Weight of the L1 loss of look pairs.
        roughness_weight: Weight of `grid_roughness`.
        range_weight: Weight of values that the finish clips.
        contrast_weight: Weight of `contrast_loss`.
        tint_weight: Weight of `tint_loss`.
        seed: Random seed.
        mixed: Run convolutions in bfloat16.
    """

    batch: int = 2
    crop: int = 192
    learning_rate: float = 1e-4
    style_weight: float = 1.0
    content_weight: float = 1.0
    structure_weight: float = 1.0
    look_weight: float = 4.0
    roughness_weight: float = 0.1
    range_weight: float = 2.0
    contrast_weight: float = 2.0
    tint_weight: float = 4.0
    seed: int = 0
    mixed: bool = False


@dataclass(frozen=True)
class TrainConfig(StepConfig):
    """Options of a run.

    Attributes:
        photos: Folder of photos, used as content and as style.
        out: Checkpoint to write.
        steps: Number of steps.
        save_every: Steps between checkpoints.
        dims: The stylizer's dimensions.
        start: Checkpoint with the initial weights; without it, the shipped look network is taken.
        tensorboard: Folder for TensorBoard events; None writes none.
    """

    photos: Path
    out: Path
    steps: int = 20_000
    save_every: int = 500
    dims: StylizerDims = field(default_factory=StylizerDims)
    start: Path | None = None
    tensorboard: Path | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the options as plain JSON types, without paths."""
        row = asdict(self)
        for name in ("photos", "out", "dims", "start", "tensorboard"):
            del row[name]
        return row
