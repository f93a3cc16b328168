"""``mvstylizer device``: the kit as a folder for a phone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mvstylizer_cli.console import JsonOption, finish

app = typer.Typer(name="device", help="Bring the kit to an Android phone.", no_args_is_help=True)

PACK_EXAMPLES = """\b
Examples:
  mvstylizer device pack --out pack
  mvstylizer device pack --out pack --bundle my-bundle
"""


@app.command(epilog=PACK_EXAMPLES)
def pack(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder to write; replaces an earlier pack.")
    ],
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", metavar="DIR", help="Also add this bundle, as `bundle` in the folder."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a folder that runs the phone side on any arm64 Android, through adb, without root or an app."""
    from device_runtime.pack.pack import make_pack

    made = make_pack(out, bundle, lambda line: typer.echo(line, err=True))
    text = (
        f"{made.path}: {made.files} files, {made.bytes / 1e6:.0f} MB, for pages of up to"
        f" {made.page_size // 1024} kB\n"
        f"On a phone: adb push {made.path} /data/local/tmp/mvstylizer\n"
        "            adb shell sh /data/local/tmp/mvstylizer/mvstylizer doctor"
    )
    finish(made.as_dict(), text, as_json)
