"""The gate: reject an average that is worse than the live model on a hold-out set.

Models are compared by the loss of Eq. 5 (content and style) and by the structure SSIM, separately for each
style of the hold-out set, so that one style cannot improve at the expense of another. Photos are evaluated
whole, resized to one size.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from mvstylizer.errors import MVStylizerError
from training.checkpoint import load_checkpoint
from training.loss import perceptual, structure_loss
from training.photos import PhotoFolder
from training.stylizer import StylizerNetwork
from training.vgg import VggEncoder

CONTENTS, STYLES = "contents", "styles"
BATCH = 4  # contents that are stylized and evaluated together


class GateError(MVStylizerError):
    """A photo of the hold-out set cannot be read."""


@dataclass(frozen=True)
class Score:
    """A model's score on one style, averaged over the contents.

    Attributes:
        content: Content loss of Eq. 5.
        style: Style loss of Eq. 5.
        total: Their sum (lambda = 1).
        structure: SSIM of the image edges; 1 means identical to the content.
    """

    content: float
    style: float
    total: float
    structure: float


@dataclass(frozen=True)
class GateDecision:
    """Whether a candidate may replace the live model.

    Attributes:
        accepted: The candidate may be released.
        reasons: One sentence per violated bound.
        scores: Scores of the candidate and of the live model, by style.
    """

    accepted: bool
    reasons: tuple[str, ...]
    scores: dict[str, dict[str, Score]]

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types without `accepted`, which the journal records as the event."""
        row = asdict(self)
        del row["accepted"]
        return row


class Gate:
    """Compares two checkpoints on a hold-out set.

    Args:
        holdout: Folder with ``contents/`` and ``styles/``, at least one photo each.
        size: Side to which the photos are resized, in pixels; a multiple of 32.
        loss_tolerance: Maximum relative increase of a style's Eq. 5 loss.
        structure_tolerance: Maximum decrease of a style's structure SSIM.

    Raises:
        PhotoFolderError: A folder is missing or empty.
        GateError: A photo cannot be read.
    """

    def __init__(
        self,
        holdout: Path,
        *,
        size: int = 192,
        loss_tolerance: float = 0.01,
        structure_tolerance: float = 0.005,
    ) -> None:
        self._contents = torch.split(torch.cat(list(_photos(holdout / CONTENTS, size).values())), BATCH)
        self._styles = _photos(holdout / STYLES, size)
        self._loss_tolerance = loss_tolerance
        self._structure_tolerance = structure_tolerance
        self._encoder = VggEncoder()

    def evaluate(self, candidate: Path, live: Path) -> GateDecision:
        """Compare two checkpoints.

        Raises:
            CheckpointError: A checkpoint is missing or damaged.
        """
        new, old = self.score(candidate), self.score(live)
        reasons = [
            reason for style in self._styles for reason in self._regressions(style, new[style], old[style])
        ]
        scores = {style: {"candidate": new[style], "live": old[style]} for style in self._styles}
        return GateDecision(not reasons, tuple(reasons), scores)

    def score(self, checkpoint: Path) -> dict[str, Score]:
        """Return a checkpoint's score on each style.

        Raises:
            CheckpointError: The checkpoint is missing or damaged.
        """
        stylizer, _ = load_checkpoint(checkpoint)
        with torch.no_grad():
            return {name: self._score(stylizer, style) for name, style in self._styles.items()}

    def _score(self, stylizer: StylizerNetwork, style: Tensor) -> Score:
        code = stylizer.encode_style(style)
        rows, weights = [], []
        for contents in self._contents:  # the losses are means over a batch
            codes = code.expand(len(contents), -1)
            output = stylizer(contents, codes)
            graded = stylizer.mapping(contents, codes)(contents)
            eq5 = perceptual(self._encoder, graded, style, output)
            rows.append((float(eq5.content), float(eq5.style), float(structure_loss(output, contents))))
            weights.append(len(contents))
        content, style_loss, structure = np.average(rows, axis=0, weights=weights).tolist()
        return Score(content, style_loss, content + style_loss, 1 - structure)

    def _regressions(self, style: str, new: Score, old: Score) -> list[str]:
        """Return one sentence per value that is worse by more than its tolerance; NaN counts as worse."""
        reasons = []
        if not new.total <= old.total * (1 + self._loss_tolerance):
            reasons.append(f"{style}: Eq. 5 loss is {new.total:.4f}, live model: {old.total:.4f}")
        if not new.structure >= old.structure - self._structure_tolerance:
            reasons.append(f"{style}: structure SSIM is {new.structure:.4f}, live model: {old.structure:.4f}")
        return reasons


def _photos(folder: Path, size: int) -> dict[str, Tensor]:
    """Return every photo of a folder as a float32 tensor (1, 3, size, size), RGB in [0, 1], by name."""
    photos = {}
    for path in PhotoFolder(folder, size, min_photos=1).paths:
        photo = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if photo is None:
            raise GateError(f"Cannot read {path}", "Remove it from the hold-out set")
        small = cv2.resize(photo, (size, size), interpolation=cv2.INTER_AREA)[..., ::-1]
        photos[path.stem] = torch.from_numpy(small.transpose(2, 0, 1)[None] / np.float32(255))
    return photos
