"""The gate: an average that is worse than the serving model on a hold-out set does not become the model.

Judged by Eq. 5 (content and style loss) and the structure SSIM, for each style of the hold-out set: an
average may not buy one style with another. The pictures are the whole photos, reduced to one size.
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
AT_A_TIME = 4  # contents that are stylized and judged together


class GateError(MVStylizerError):
    """The hold-out set cannot be read."""


@dataclass(frozen=True)
class Score:
    """A model on one style, means over the contents.

    Attributes:
        content: Eq. 5's content loss.
        style: Eq. 5's style loss.
        total: Their sum (lambda = 1).
        structure: SSIM of the edges, 1 = the content's own.
    """

    content: float
    style: float
    total: float
    structure: float


@dataclass(frozen=True)
class Verdict:
    """What the gate says.

    Attributes:
        accepted: Whether the candidate may serve.
        reasons: One sentence for each bound that it broke.
        scores: By style: the candidate's and the live model's score.
    """

    accepted: bool
    reasons: tuple[str, ...]
    scores: dict[str, dict[str, Score]]

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types without `accepted`, which is the journal's event."""
        row = asdict(self)
        del row["accepted"]
        return row


class Gate:
    """Compares two checkpoints on a hold-out set.

    Args:
        holdout: Folder with ``contents/`` and ``styles/``, one photo each at least.
        size: Side in pixels at which the photos are judged, a multiple of 8.
        loss_tolerance: Share by which a style's Eq. 5 loss may rise.
        structure_tolerance: By how much a style's structure SSIM may fall.

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
        self._contents = torch.split(torch.cat(list(_photos(holdout / CONTENTS, size).values())), AT_A_TIME)
        self._styles = _photos(holdout / STYLES, size)
        self._loss_tolerance = loss_tolerance
        self._structure_tolerance = structure_tolerance
        self._judge = VggEncoder()

    def judge(self, candidate: Path, live: Path) -> Verdict:
        """Compare two checkpoints.

        Raises:
            CheckpointError: One of them is missing or damaged.
        """
        new, old = self.score(candidate), self.score(live)
        reasons = [reason for style in self._styles for reason in self._worse(style, new[style], old[style])]
        scores = {style: {"candidate": new[style], "live": old[style]} for style in self._styles}
        return Verdict(not reasons, tuple(reasons), scores)

    def score(self, checkpoint: Path) -> dict[str, Score]:
        """Return a checkpoint's score on each style.

        Raises:
            CheckpointError: It is missing or damaged.
        """
        stylizer, _ = load_checkpoint(checkpoint)
        with torch.no_grad():
            return {name: self._score(stylizer, style) for name, style in self._styles.items()}

    def _score(self, stylizer: StylizerNetwork, style: Tensor) -> Score:
        code = stylizer.encode_style(style)
        rows, weights = [], []
        for contents in self._contents:  # a few at a time: the losses are means over them
            codes = code.expand(len(contents), -1)
            output = stylizer(contents, codes)
            recoloured = stylizer.recolor(contents, codes)[0].clamp(0, 1)
            eq5 = perceptual(self._judge, recoloured, style, output)
            rows.append((float(eq5.content), float(eq5.style), float(structure_loss(output, contents))))
            weights.append(len(contents))
        content, style_loss, structure = np.average(rows, axis=0, weights=weights).tolist()
        return Score(content, style_loss, content + style_loss, 1 - structure)

    def _worse(self, style: str, new: Score, old: Score) -> list[str]:
        """Return what is worse beyond the tolerance; NaN is."""
        reasons = []
        if not new.total <= old.total * (1 + self._loss_tolerance):
            reasons.append(f"{style}: Eq. 5 loss {new.total:.4f} against {old.total:.4f} of the live model")
        if not new.structure >= old.structure - self._structure_tolerance:
            reasons.append(f"{style}: structure {new.structure:.4f} against {old.structure:.4f}")
        return reasons


def _photos(folder: Path, size: int) -> dict[str, Tensor]:
    """Read every photo of a folder as 1×3×size×size RGB in [0, 1], by name."""
    photos = {}
    for path in PhotoFolder(folder, size, min_photos=1).paths:
        photo = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if photo is None:
            raise GateError(f"{path} cannot be read", "Take it out of the hold-out set")
        small = cv2.resize(photo, (size, size), interpolation=cv2.INTER_AREA)[..., ::-1]
        photos[path.stem] = torch.from_numpy(small.transpose(2, 0, 1)[None] / np.float32(255))
    return photos
