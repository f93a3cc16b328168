"""Export a checkpoint to a bundle, then compare its ONNX files with PyTorch on a photo.

    python examples/export_and_check.py models/mvstylizer.safetensors exported/

The export has compared each file with PyTorch already; this example shows how to do it on a photo of yours.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from device_runtime.media.photo import read_photo
from export.exporter import export_bundle
from export.parity.reference import Reference
from training.checkpoint import load_checkpoint

ROOT: Final = Path(__file__).resolve().parents[1]
MAX_DIFFERENCE: Final = 1.0  # gray levels; weights are stored in half precision, and results are rounded


def in_onnx(
    encoder: Path, stylizer: Path, frame: NDArray[np.uint8], style: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Stylize with the two files: uint8 NHWC in and out; scaling and layout are part of the graphs."""
    first, second = (
        onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        for path in (encoder, stylizer)
    )
    (code,) = first.run(["style_code"], {"style": style[None]})
    inputs = {"frame": frame[None], "style_code": code, "r": np.ones(1, np.float32)}
    (stylized,) = second.run(["stylized"], inputs)
    return np.asarray(stylized[0], np.float32)


def export_and_check(checkpoint: Path, folder: Path) -> float:
    """Write the bundle and return the mean difference of a frame from PyTorch, in gray levels."""
    bundle = export_bundle(checkpoint, folder, sizes=())
    stylizer, _ = load_checkpoint(checkpoint)
    style = read_photo(ROOT / "samples" / "dusk.jpg")
    frame = np.ascontiguousarray(style[::2, ::-2])
    stylized = in_onnx(bundle.file("style_encoder"), bundle.file("stylizer"), frame, style)
    reference = Reference(stylizer)
    expected = reference.stylized(frame, reference.style_code(style), r=1.0)
    return float(np.abs(stylized - expected[0]).mean())


if __name__ == "__main__":
    difference = export_and_check(Path(sys.argv[1]), Path(sys.argv[2]))
    print(f"ONNX and PyTorch differ by {difference:.3f} gray levels on average")  # noqa: T201
    sys.exit(difference > MAX_DIFFERENCE)
