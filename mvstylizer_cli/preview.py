"""``mvstylizer stylize --preview``: a contact sheet before the run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mvstylizer_cli.console import Show, finish, warn

if TYPE_CHECKING:
    from device_runtime.options import StylizeOptions
    from mvstylizer_cli.stylizers import StylizerBackend

PreviewOption = Annotated[
    bool,
    typer.Option(
        "--preview",
        help="Write a contact sheet (OUT.png) instead: one frame at several matches and strengths.",
    ),
]
PreviewScenesOption = Annotated[
    bool, typer.Option("--preview-scenes", help="Like --preview, with three frames of each scene.")
]


def preview(
    source: str,
    styles: dict[Path, float],
    out: str,
    *,
    options: StylizeOptions,
    backend: StylizerBackend,
    scenes: bool,
    as_json: bool,
) -> None:
    """Write the contact sheet. Without an edge the model runs in this process, which starts faster."""
    from device_runtime.media.photo import check_photo_output
    from device_runtime.preview.preview import write_preview

    check_photo_output(Path(out), Path(source), *styles)
    with Show("Preview") as show, backend.stylizer_without_server() as stylizer:
        report = write_preview(
            Path(source),
            styles,
            Path(out),
            options=options,
            stylizer=stylizer,
            bundle=backend.model,
            scenes=scenes,
            progress=show,
        )
    warn(report.warnings)
    shown = f"{len(report.frames)} frames" if len(report.frames) > 1 else "1 frame"
    strengths = ", ".join(f"{100 * strength:.0f}" for strength in report.strengths)
    finish(
        report.as_dict(),
        f"{report.out}\n{shown}: {', '.join(report.matches)} at a strength of {strengths} %",
        as_json,
    )
