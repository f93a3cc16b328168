"""Stylize a video, then a single frame, in Python: what `mvstylizer stylize --local` does, step by step.

    python examples/stylize_in_python.py street.mp4 samples/dusk.jpg street-dusk.mp4

With an edge instead of this machine's CPU: `EdgeClient("edge.example:8001")` in the place of `OnnxStylizer`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from device_runtime.media.photo import read_photo, write_photo
from device_runtime.media.reader import VideoReader
from device_runtime.pipeline import stylize_video
from device_runtime.report import Report
from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
from mvstylizer.bundle import default_bundle, load_bundle


def stylize(video: Path, style_photo: Path, out: Path) -> Report:
    """Stylize a video, and its first frame on its own as a photo beside the result."""
    bundle = load_bundle(default_bundle())
    with OnnxStylizer(bundle) as stylizer:
        # The style code is computed once per style; a frame is uint8 RGB (H, W, 3).
        style_code = stylizer.encode_style(read_photo(style_photo))
        with VideoReader(video) as frames:
            first = next(iter(frames)).rgb
        stylized = stylizer.stylize(first, style_code, reply="image").image
        assert stylized is not None
        write_photo(out.with_suffix(".jpg"), stylized)

        # The whole video: key frames meet the network, the others are made from optical flow.
        return stylize_video(
            video, style_photo, out,
            stylizer=stylizer, bundle=bundle, policy="every:15", interpolation="transfer",
            progress=lambda done, total: print(f"\r{done} of {total or '?'}", end="", file=sys.stderr),  # noqa: T201
        )  # fmt: skip


if __name__ == "__main__":
    report = stylize(*map(Path, sys.argv[1:4]))
    print(f"\n{report.out}: {report.frames} frames, key frames at {report.key_frame_places}")  # noqa: T201
