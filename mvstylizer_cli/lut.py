"""``mvstylizer lut``: export the global part of a style on a shot as a 3D LUT."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mvstylizer_cli.configured import ConfigOption, ProfileOption
from mvstylizer_cli.console import BundleOption, JsonOption, Show, finish
from mvstylizer_cli.stylizers import (
    EdgeOption,
    InputLutOption,
    LocalOption,
    MatchOption,
    MaxPixelsOption,
    StrengthOption,
    StyleOption,
    StylizerBackend,
    TlsOption,
    TokenOption,
    WeightsOption,
    parsed_match,
    styles_with_weights,
)

LUT_EXAMPLES = """\b
Examples:
  mvstylizer lut street.mp4 --style dusk.jpg --out look.cube --at 12.5
  mvstylizer lut street.mp4 --style dusk.jpg --out luts --per-shot --size 65
  ffmpeg -i street.mp4 -vf lut3d=look.cube street-dusk.mp4
"""


def lut(
    source: Annotated[Path, typer.Argument(metavar="VIDEO", help="Video or photo to compute the LUT for.")],
    style: StyleOption,
    out: Annotated[
        Path, typer.Option("--out", metavar="OUT", help="Output file (.cube), or folder with --per-shot.")
    ],
    style_weights: WeightsOption = None,
    at: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="A time within the shot to use.")] = 0.0,
    per_shot: Annotated[
        bool, typer.Option("--per-shot", help="Write a LUT for each shot, and an EDL (CMX3600).")
    ] = False,
    input_lut: InputLutOption = None,
    strength: StrengthOption = 1.0,
    match: MatchOption = "auto",
    max_pixels: MaxPixelsOption = 210.0,
    size: Annotated[int, typer.Option(min=2, max=129, help="Nodes per axis.")] = 33,
    edge: EdgeOption = None,
    local: LocalOption = False,
    tls_ca: TlsOption = None,
    token: TokenOption = "",
    bundle: BundleOption = None,
    config: ConfigOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Export the global part of a style on a shot as a 3D LUT, for ffmpeg's lut3d and grading tools."""
    from device_runtime.lut.per_shot import per_shot_luts
    from device_runtime.lut.shot_lut import shot_lut
    from device_runtime.media.photo import is_photo
    from device_runtime.options import StylizeOptions

    if per_shot and (at or is_photo(source)):
        raise typer.BadParameter("needs a video, and no --at", param_hint="--per-shot")
    backend = StylizerBackend(edge, local, bundle, tls_ca, token)
    styles = styles_with_weights(style, style_weights)
    options = StylizeOptions(
        strength=strength,
        match=parsed_match(match),
        input_lut=str(input_lut) if input_lut else None,
        max_pixels=round(max_pixels * 1e6),
    )
    if input_lut:
        from device_runtime.media.cube_file import read_cube

        read_cube(input_lut)  # before a server is started
    with Show("Frames") as show, backend.stylizer() as stylizer:
        if per_shot:
            each = per_shot_luts(
                source,
                styles,
                out,
                options=options,
                stylizer=stylizer,
                bundle=backend.model,
                size=size,
                progress=show,
            )
            finish(each.as_dict(), f"{each.edl}\n{len(each.shots)} shots, one .cube each", as_json)
            return
        report = shot_lut(
            source,
            styles,
            out,
            options=options,
            stylizer=stylizer,
            bundle=backend.model,
            at_s=at,
            size=size,
        )
    finish(report.as_dict(), f"{report.out}\nfrom {len(report.key_frames)} key frames", as_json)
