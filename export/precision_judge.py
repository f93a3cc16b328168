"""How much a precision of ``stylizer.onnx`` changes pictures, and what it costs: size, time, differences."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from mvstylizer.errors import MVStylizerError
from training.photos import SUFFIXES

_LONG_SIDE: Final = 512  # of a photo: what the network sees of any frame
_CALIBRATION: Final = 8  # photos that give the ranges, at most
_JUDGES: Final = 6  # photos that judge, at most
_RUNS: Final = 3

Inputs = Mapping[str, NDArray[Any]]


class PrecisionError(MVStylizerError):
    """A precision misses the bound, or there are too few photos to calibrate with."""


@dataclass(frozen=True)
class PrecisionRow:
    """One precision of ``stylizer.onnx``.

    Attributes:
        precision: ``fp32``, ``fp16`` or ``int8``.
        bytes: Size of the file.
        ms_1: Median time of a frame on one thread, in milliseconds.
        ms_2: The same on two threads.
        max: Largest difference from fp32, in gray levels.
        p999: 99.9th percentile of the differences.
        psnr: PSNR against fp32, in dB, over all photos.
        float_layers: Convolutions that stay in floating point.
    """

    precision: str
    bytes: int
    ms_1: float
    ms_2: float
    max: float
    p999: float
    psnr: float
    float_layers: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON types."""
        return {**asdict(self), "float_layers": list(self.float_layers)}

    def __str__(self) -> str:
        """Return the row as text."""
        kept = f", {len(self.float_layers)} layers in floating point" if self.float_layers else ""
        return (
            f"{self.precision}: {self.bytes / 1e3:.0f} kB, {self.ms_1:.0f} ms (2 threads {self.ms_2:.0f}),"
            f" {self.psnr:.1f} dB, at most {self.max:.0f} gray levels (p99.9 {self.p999:.0f}){kept}"
        )


class Photos:
    """Frames and style codes for calibration and for judging, from a folder of photos.

    Args:
        folder: Photos at any depth.
        style_encoder: ``style_encoder.onnx``; each photo is styled after another one.

    Raises:
        PrecisionError: There are fewer than four readable photos.
    """

    def __init__(self, folder: Path, style_encoder: Path) -> None:
        photos = [photo for path in _photo_files(folder) if (photo := _read(path)) is not None]
        if len(photos) < 4:
            raise PrecisionError(
                f"{folder} has {len(photos)} readable photos; calibration needs four",
                "Name a folder of photos with --calibrate",
            )
        encoder = _session(style_encoder.read_bytes())
        codes = [encoder.run(None, {"style": photo[None]})[0] for photo in photos]
        r = np.ones(1, np.float32)
        pairs: list[Inputs] = [
            {"frame": photo[None], "style_code": code, "r": r}
            for photo, code in zip(photos, (*codes[1:], codes[0]), strict=True)
        ]
        self.judges = pairs[::2][:_JUDGES]
        self.calibration = pairs[1::2][:_CALIBRATION]


class Judge:
    """Compares files of ``stylizer.onnx`` with the one in single precision.

    Args:
        fp32: Content of that file.
        photos: Whose second half judges.
    """

    def __init__(self, fp32: bytes, photos: Photos) -> None:
        self._photos = photos
        self._expected = list(self._outputs(fp32))

    def row(self, precision: str, content: bytes, float_layers: Sequence[str] = ()) -> PrecisionRow:
        """Return the figures of a file."""
        found = np.concatenate([d.ravel() for d in self._differences(content)])
        return PrecisionRow(
            precision,
            len(content),
            self._milliseconds(content, 1),
            self._milliseconds(content, 2),
            float(found.max()),
            float(np.percentile(found, 99.9)),
            round(psnr(float(np.mean(found**2))), 2),
            tuple(float_layers),
        )

    def error(self, content: bytes, photos: int | None = None) -> float:
        """Return the mean square difference in gray levels, over some photos or all."""
        return float(np.mean([np.mean(d**2) for d in self._differences(content, photos)]))

    def _differences(self, content: bytes, photos: int | None = None) -> Iterator[NDArray[np.float32]]:
        for found, expected in zip(self._outputs(content, photos), self._expected, strict=False):
            yield np.abs(found.astype(np.float32) - expected)

    def _outputs(self, content: bytes, photos: int | None = None) -> Iterator[NDArray[np.uint8]]:
        session = _session(content)
        for inputs in self._photos.judges[:photos]:
            yield session.run(["stylized"], dict(inputs))[0]

    def _milliseconds(self, content: bytes, threads: int) -> float:
        session, inputs = _session(content, threads), dict(self._photos.judges[0])
        session.run(["stylized"], inputs)
        times = []
        for _ in range(_RUNS):
            start = time.perf_counter()
            session.run(["stylized"], inputs)
            times.append(time.perf_counter() - start)
        return round(1e3 * float(np.median(times)), 2)


def _session(content: bytes, threads: int = 0) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _photo_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise PrecisionError(f"{folder} is not a folder", "Name a folder of photos with --calibrate")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    wanted = 2 * max(_JUDGES, _CALIBRATION)
    return found[:: max(1, len(found) // wanted)][:wanted]


def _read(path: Path) -> NDArray[np.uint8] | None:
    photo = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if photo is None:
        return None
    scale = min(1.0, _LONG_SIDE / max(photo.shape[:2]))
    size = max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale))
    small = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small[..., ::-1], dtype=np.uint8)


def psnr(mean_square: float) -> float:
    """Return the PSNR of a mean square difference in gray levels, in dB."""
    return 10 * float(np.log10(255.0**2 / max(mean_square, 1e-10)))
