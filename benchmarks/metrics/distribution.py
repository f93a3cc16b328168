"""Distances between sets of pictures: FID, KID and Inception score, computed by torchmetrics.

Features come from the standard Inception network (a TorchScript file passed by the user, as in StyleGAN2-ADA
and clean-fid) or from our VGG16 encoder. They are computed once and then passed to the metrics.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import KernelInceptionDistance

from mvstylizer.errors import MVStylizerError
from training.vgg import VggEncoder

Picture = NDArray[np.uint8]

VGG_LAYER: Final = "4_1"
FEATURES, LOGITS = 2048, 1008  # sizes of Inception's pool3 and of its unbiased logits
_BATCH: Final = 8
_SPLITS: Final = 10  # of the Inception score, as is standard


class InceptionWeightsError(MVStylizerError):
    """The Inception weights are missing, or are not a TorchScript of Inception."""


class Features(Protocol):
    """Computes features of pictures."""

    def __call__(self, pictures: Sequence[Picture]) -> Tensor:
        """Return float32 N×D features of uint8 RGB pictures of one size."""
        ...


class VggFeatures:
    """VGG16's relu4_1 averaged over positions: 512 features, not comparable with Inception's."""

    def __init__(self) -> None:
        self._encoder = VggEncoder(VGG_LAYER)

    def __call__(self, pictures: Sequence[Picture]) -> Tensor:
        """Return N×512."""
        parts = []
        with torch.no_grad():
            for batch in _batches(pictures):
                features = self._encoder(batch.float() / 255, (VGG_LAYER,))[VGG_LAYER]
                parts.append(features.mean(dim=(2, 3)))
        return torch.cat(parts)


class Inception:
    """The standard Inception network for FID and Inception score.

    Args:
        weights: ``inception-2015-12-05.pt``: TorchScript, uint8 N×3×H×W in, any size.

    Raises:
        InceptionWeightsError: The file is missing or contains another network.
    """

    def __init__(self, weights: Path) -> None:
        hint = "Download inception-2015-12-05.pt of StyleGAN2-ADA and pass it with --inception-weights"
        if not weights.is_file():
            raise InceptionWeightsError(f"{weights} does not exist", hint)
        try:
            self._network: Any = torch.jit.load(str(weights)).eval()  # type: ignore[no-untyped-call]
            shape = tuple(self([np.zeros((64, 64, 3), np.uint8)]).shape)
        except (RuntimeError, ValueError) as err:
            raise InceptionWeightsError(f"{weights} is not a TorchScript of Inception", hint) from err
        if shape != (1, FEATURES):
            raise InceptionWeightsError(
                f"{weights} returns features of shape {shape}, expected (1, {FEATURES})", hint
            )

    def __call__(self, pictures: Sequence[Picture]) -> Tensor:
        """Return the pool3 features, N×2048."""
        return self._run(pictures, return_features=True)

    def logits(self, pictures: Sequence[Picture]) -> Tensor:
        """Return the logits without bias, N×1008, as used by the Inception score."""
        # The script ends in a softmax; the softmax of the score undoes the logarithm.
        return self._run(pictures, no_output_bias=True).clamp(min=1e-12).log()

    def _run(self, pictures: Sequence[Picture], **options: bool) -> Tensor:
        with torch.no_grad():
            return torch.cat([self._network(batch, **options).float() for batch in _batches(pictures)])


@dataclass(frozen=True)
class Estimate:
    """A metric with its range over resampled pictures (5 to 95 %)."""

    value: float
    low: float
    high: float


def fid(made: Tensor, real: Tensor, *, resamples: int, seed: int = 0) -> Estimate:
    """Return the Fréchet distance between two sets of features, with a bootstrap interval.

    Args:
        made: N×D.
        real: M×D.
        resamples: Number of bootstrap resamples of both sets.
        seed: Random seed.
    """
    generator = torch.Generator().manual_seed(seed)

    def again(features: Tensor) -> Tensor:
        return features[torch.randint(len(features), (len(features),), generator=generator)]

    draws = [_fid(again(made), again(real)) for _ in range(resamples)]
    low, high = np.quantile(draws, (0.05, 0.95)).tolist()
    return Estimate(_fid(made, real), low, high)


def kid(made: Tensor, real: Tensor, *, seed: int = 0) -> Estimate:
    """Return the kernel distance, unbiased for any number of pictures; its range is ± 2 deviations."""
    torch.manual_seed(seed)  # torchmetrics draws its subsets from the global generator
    size = min(100, len(made) // 2, len(real) // 2)
    metric = _quiet(
        KernelInceptionDistance, feature=_Precomputed(made.shape[1]), subsets=50, subset_size=size
    )
    mean, deviation = map(float, _filled(metric, made, real).compute())
    return Estimate(mean, mean - 2 * deviation, mean + 2 * deviation)


def inception_score(logits: Tensor, *, seed: int = 0) -> Estimate:
    """Return the Inception score; its range is ± 2 deviations over its splits."""
    torch.manual_seed(seed)
    metric = _quiet(
        InceptionScore, feature=_Precomputed(logits.shape[1]), splits=min(_SPLITS, len(logits) // 2)
    )
    metric.update(logits)
    mean, deviation = map(float, metric.compute())
    return Estimate(mean, mean - 2 * deviation, mean + 2 * deviation)


class _Precomputed(nn.Module):
    """Replaces torchmetrics' network by precomputed features."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.num_features = size

    def forward(self, features: Tensor) -> Tensor:
        return features


def _fid(made: Tensor, real: Tensor) -> float:
    return float(_filled(FrechetInceptionDistance(feature=_Precomputed(made.shape[1])), made, real).compute())


def _filled(metric: Any, made: Tensor, real: Tensor) -> Any:
    metric.update(real, real=True)
    metric.update(made, real=False)
    return metric


def _quiet(metric: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it stores all features
        return metric(**options)


def _batches(pictures: Sequence[Picture]) -> list[Tensor]:
    """Return uint8 N×3×H×W, a few pictures at a time."""
    starts = range(0, len(pictures), _BATCH)
    stacks = (np.stack(pictures[start : start + _BATCH]).transpose(0, 3, 1, 2) for start in starts)
    return [torch.from_numpy(np.ascontiguousarray(stack)) for stack in stacks]
