"""The clips of the report's slider: a few seconds of footage, before and after stylization."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from benchmarks.data import footage
from benchmarks.data.models import shipped
from benchmarks.harness.report import Film
from device_runtime.options import StylizeOptions
from device_runtime.pipeline import stylize_video
from device_runtime.stylizers.onnx_stylizer import OnnxStylizer

SIZE: Final = (640, 360)
CRF: Final = 27
CREDIT: Final = (
    "Drag to compare: before on the left, after on the right. Big Buck Bunny, © Blender Foundation, "
    "CC BY 3.0. Style: the sample photo."
)


def make_film(folder: Path, *, frames: int = 100, threads: int = 0) -> Film:
    """Write both clips to a folder.

    Raises:
        MVStylizerError: The footage or the model is missing.
    """
    before, after = folder / "before.mp4", folder / "after.mp4"
    filmed = footage.frames(footage.clip("bigbuckbunny"), frames)
    footage.write_clip(before, iter(filmed), *SIZE, crf=CRF)
    bundle = shipped()[0]
    with OnnxStylizer(bundle, threads=threads) as stylizer:
        options = StylizeOptions("every:15", crf=CRF)
        stylize_video(before, footage.STYLE, after, options=options, stylizer=stylizer, bundle=bundle)
    return Film(before, after, CREDIT)
