"""Options of a part of a video: ``--from`` and ``--to``."""

from __future__ import annotations

from typing import Annotated

import typer

FromOption = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="TIME|FRAME", help="Start at this time (12.5 or 1:30) or frame (120f), from 0."
    ),
]
ToOption = Annotated[
    str | None,
    typer.Option("--to", metavar="TIME|FRAME", help="Stop before this time or frame."),
]


def check_span(start: str | None, end: str | None) -> None:
    """Check both options.

    Raises:
        typer.BadParameter: One is invalid, or no frame is left.
    """
    from device_runtime.media.excerpt import Moment, Span, SpanError

    for option, text in (("--from", start), ("--to", end)):
        try:
            Moment.parse(text or "0")
        except SpanError as err:
            raise typer.BadParameter(str(err), param_hint=option) from err
    try:
        Span.parse(start, end)
    except SpanError as err:
        raise typer.BadParameter(str(err), param_hint="--to") from err
