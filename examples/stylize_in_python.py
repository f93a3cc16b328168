"""Stylize a video and a single frame in Python, like `mvstylizer stylize --local`.

    python examples/stylize_in_python.py street.mp4 samples/dusk.jpg street-dusk.mp4

To use an edge instead of this machine's CPU, replace `OnnxStylizer` with `EdgeClient("edge.example:8001")`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from device_runtime.media.photo import read_photo, write_photo
from device_runtime.media.reader import VideoReader
from device_runtime.options import StylizeOptions
from device_runtime.pipeline import stylize_video
from device_runtime.report import Report
from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
from mvstylizer.bundle import default_bundle, load_bundle


def stylize(video: Path, style_photo: Path, out: Path) -> Report:
    """Stylize a video, and its first frame as a photo next to the result."""
    bundle = load_bundle(default_bundle())
    with OnnxStylizer(bundle) as stylizer:
        # Compute the style code once per style. Frames are uint8 RGB (H, W, 3).
        style_code = stylizer.encode_style(read_photo(style_photo))
        with VideoReader(video) as frames:
            first = next(iter(frames)).rgb
        stylized = stylizer.stylize(first, style_code, reply="image").image
        assert stylized is not None
        write_photo(out.with_suffix(".jpg"), stylized)

        # In the whole video, only key frames go through the network; the others are interpolated.
        options = StylizeOptions(policy="every:15", interpolation="transfer")
        return stylize_video(
            video, style_photo, out, options=options, stylizer=stylizer, bundle=bundle, progress=show
        )


def show(done: int, total: int | None) -> None:
    """Print progress."""
    print(f"\r{done} of {total or '?'}", end="", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    report = stylize(*map(Path, sys.argv[1:4]))
    print(f"\n{report.out}: {report.frames} frames, key frames at {report.key_frame_indices}")  # noqa: T201
