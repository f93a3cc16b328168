"""The report's section that shows clips in four ways, with the key frames on a time line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final

from benchmarks.harness.media import data_url

LABELS: Final = (
    "as filmed",
    "every frame stylized",
    "key frames, transfer",
    "key frames, warp",
    "transfer − every frame, ×8",
    "warp − every frame, ×8",
)
LINES: Final = ("solid", "dashed")  # of the curves
HEIGHT: Final = 40.0  # of the time line, in its own units
MIN_TOP: Final = 8.0  # gray levels at the top of the time line, at least


@dataclass(frozen=True)
class SideBySide:
    """A clip with six tiles, in the order of `LABELS`, two in a row.

    Attributes:
        title: What it shows.
        clip: The video, H.264 in MP4.
        key_frames: Indices of the key frames.
        cuts: Indices of the first frames of scenes, without the first scene.
        apart: By way, the mean difference of each frame to the same frame stylized, in gray levels.
        about: Model and settings.
    """

    title: str
    clip: Path
    key_frames: Sequence[int]
    cuts: Sequence[int]
    apart: Mapping[str, Sequence[float]]
    about: str


def section(clips: Sequence[SideBySide]) -> str:
    """Return the section as HTML, with the clips in it."""
    return "\n".join(
        [
            '<section id="side-by-side">',
            "<h2>Frame by frame and key frames, side by side</h2>",
            *map(_player, clips),
            "</section>",
        ]
    )


def _player(shown: SideBySide) -> str:
    labels = "".join(f"<span>{escape(label)}</span>" for label in LABELS)
    means = ", ".join(
        f"{way}, {line}, {sum(levels) / len(levels):.1f}"
        for line, (way, levels) in zip(LINES, shown.apart.items(), strict=True)
    )
    return (
        f"<h3>{escape(shown.title)}</h3>"
        f'<figure class="tiles"><div class="picture"><video muted playsinline loop preload="auto" '
        f'aria-label="{escape(shown.title)} in four ways" src="{data_url(shown.clip)}"></video>'
        f'<div class="labels">{labels}</div></div>{_time_line(shown)}<button>Play</button>'
        f"<figcaption>{escape(shown.about)}. Below the pictures: key frames (lines), cuts (bold lines), and "
        f"the mean difference to stylizing every frame in gray levels ({means}). Click to go to a frame."
        "</figcaption></figure>"
    )


def _time_line(shown: SideBySide) -> str:
    frames = max(map(len, shown.apart.values()))
    top = max(MIN_TOP, *(max(levels) for levels in shown.apart.values()))
    marks = [
        f'<line class="{"cut" if index in shown.cuts else "key"}" x1="{index}" x2="{index}" y2="{HEIGHT:g}"/>'
        for index in sorted({*shown.key_frames, *shown.cuts})
    ]
    curves = [
        f'<polyline class="way{number}" points="{_points(levels, top)}"/>'
        for number, levels in enumerate(shown.apart.values())
    ]
    return (
        f'<svg class="timeline" data-frames="{frames}" viewBox="0 0 {frames} {HEIGHT:g}" '
        'preserveAspectRatio="none" role="slider" tabindex="0" aria-label="Frame" '
        f'aria-valuemin="0" aria-valuemax="{frames - 1}" aria-valuenow="0">{"".join(marks)}{"".join(curves)}'
        f'<line class="now" y2="{HEIGHT:g}"/></svg>'
    )


def _points(levels: Sequence[float], top: float) -> str:
    return " ".join(f"{index + 0.5:g},{HEIGHT * (1 - level / top):.2f}" for index, level in enumerate(levels))
