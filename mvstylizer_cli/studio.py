"""``mvstylizer studio``: a local web page for stylizing and comparing."""

from __future__ import annotations

from typing import Annotated

import typer

from mvstylizer.errors import need_extra
from mvstylizer_cli.console import BundleOption, bundle_folder
from mvstylizer_cli.stylizers import EdgeOption, check_exclusive, local_stylizer, open_stylizer

STUDIO_EXAMPLES = """\b
Examples:
  mvstylizer studio
  mvstylizer studio --port 9000 --edge 192.168.1.20:8001
"""


def studio(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port on loopback; 0 selects a free one.")
    ] = 8765,
    edge: EdgeOption = None,
    local: Annotated[
        bool, typer.Option("--local", help="Run the model in this process, without a server.")
    ] = False,
    bundle: BundleOption = None,
    max_upload: Annotated[int, typer.Option(min=1, metavar="MB", help="Maximum size of a file.")] = 2000,
    browse: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Serve a local page for stylizing and comparing until Ctrl-C, then delete its files."""
    need_extra("studio", "starlette", "uvicorn")
    import webbrowser

    from device_runtime.trial import try_models
    from mvstylizer.bundle import load_bundle
    from studio.serve import listening, serve
    from studio.workbench import MEGABYTE, StudioBackend

    check_exclusive(edge, local)

    def ready(url: str) -> None:
        typer.echo(f"Studio on {url} (Ctrl-C stops)", err=True)
        if browse:
            webbrowser.open(url)

    model = load_bundle(bundle_folder(bundle))
    try_models(model)
    name = "in this process" if local else f"edge {edge}" if edge else "bundled Triton"
    with listening(port) as listener, open_stylizer(edge, local, model) as stylizer:
        fallback = None if local else lambda: local_stylizer(model)
        backend = StudioBackend(stylizer, model, name, fallback)
        serve(listener, backend, max_upload=max_upload * MEGABYTE, on_ready=ready)
