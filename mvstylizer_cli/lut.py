"""``mvstylizer lut``: the global part of a style on a shot, as a table for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mvstylizer_cli.console import BundleOption, JsonOption, finish
from mvstylizer_cli.stylizers import (
    EdgeOption,
    Engine,
    LocalOption,
    StrengthOption,
    StyleOption,
    TlsOption,
    TokenOption,
    WeightsOption,
    styles_with_weights,
)

LUT_EXAMPLES = """\b
Examples:
  mvstylizer lut street.mp4 --style dusk.jpg --out look.cube --at 12.5
  ffmpeg -i street.mp4 -vf lut3d=look.cube street-dusk.mp4
"""


def lut(
    source: Annotated[Path, typer.Argument(metavar="VIDEO", help="Video (or photo) that the LUT is for.")],
    style: StyleOption,
    out: Annotated[Path, typer.Option("--out", metavar="OUT", help="Where the LUT goes (.cube).")],
    style_weights: WeightsOption = None,
    at: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="The shot at this time of the video is taken.")
    ] = 0.0,
    strength: StrengthOption = 1.0,
    size: Annotated[int, typer.Option(min=2, max=129, help="Nodes each way.")] = 33,
    edge: EdgeOption = None,
    local: LocalOption = False,
    tls_ca: TlsOption = None,
    token: TokenOption = "",
    bundle: BundleOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the global part of a style on a shot as a 3D LUT, for ffmpeg's lut3d and grading tools."""
    from device_runtime.lut.shot_lut import shot_lut

    engine = Engine(edge, local, bundle, tls_ca, token)
    styles = styles_with_weights(style, style_weights)
    with engine.stylizer() as stylizer:
        report = shot_lut(
            source, styles, out, stylizer=stylizer, bundle=engine.model,
            at_s=at, strength=strength, size=size,
        )  # fmt: skip
    finish(report.as_dict(), f"{report.out}\nfrom {len(report.key_frames)} key frames", as_json)
