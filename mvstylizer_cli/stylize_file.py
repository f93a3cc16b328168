"""Stylize one file with an open stylizer: a video or a photo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from device_runtime.labels.masks import MaskFiles
    from device_runtime.options import StylizeOptions
    from device_runtime.pipeline import Progress
    from device_runtime.report import LabelUse, Report
    from mvstylizer.stylizer import Stylizer
    from mvstylizer_cli.stylizers import StylizerBackend


def stylize_file(
    source: Path,
    styles: dict[Path, float],
    out: Path,
    *,
    options: StylizeOptions,
    stylizer: Stylizer,
    backend: StylizerBackend,
    progress: Progress,
    masks: MaskFiles | None = None,
    resume: bool = False,
) -> Report:
    """Stylize a video or a photo; see `stylize_video` and `stylize_photo`."""
    from device_runtime.labels.video import stylize_labeled_video
    from device_runtime.media.photo import is_photo
    from device_runtime.pipeline import stylize_photo, stylize_video

    if masks is not None and not is_photo(source, out):
        return stylize_labeled_video(
            source,
            next(iter(styles)),
            out,
            masks,
            options=options,
            stylizer=stylizer,
            bundle=backend.model,
            progress=progress,
            fallback=backend.fallback,
        )
    if is_photo(source, out):
        return stylize_photo(
            source, styles, out, options=options, stylizer=stylizer, progress=progress, masks=masks
        )
    return stylize_video(
        source,
        styles,
        out,
        options=options,
        stylizer=stylizer,
        bundle=backend.model,
        progress=progress,
        fallback=backend.fallback,
        resume=resume,
    )


def summary(report: Report) -> str:
    """Return a report as text."""
    parts = "  ".join(f"{name} {seconds:.2f}" for name, seconds in report.seconds.items() if name != "total")
    lines = [
        report.out,
        f"{report.frames} frames: {report.key_frames} key, {report.intermediate_frames} intermediate"
        f" ({report.interpolation})",
        f"{report.seconds['total']:.2f} s  [{parts}]",
    ]
    if report.labels:
        lines.append("labels: " + ", ".join(map(_label_line, report.labels)))
    requested = report.key_frames - len(report.fallback_key_frames)
    if report.bytes_sent and requested:
        sent, received = (total / requested / 1000 for total in (report.bytes_sent, report.bytes_received))
        lines.append(f"{sent:.1f} kB sent and {received:.1f} kB received per key frame")
    return "\n".join(lines)


def _label_line(use: LabelUse) -> str:
    return f"{use.label} ({100 * use.share:.1f} %{'' if use.own_style else ', the whole style'})"
