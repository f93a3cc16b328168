"""Shared by the commands that stylize: which styles to use, and where key frames are stylized."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mvstylizer.errors import MVStylizerError
from mvstylizer_cli.console import bundle_folder

if TYPE_CHECKING:
    from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
    from device_runtime.stylizers.tflite_stylizer import TFLiteStylizer
    from mvstylizer.bundle import Bundle
    from mvstylizer.stylizer import Match, Stylizer

StyleOption = Annotated[
    list[Path],
    typer.Option("--style", metavar="PHOTO", help="Style photo; repeat to mix several."),
]
WeightsOption = Annotated[
    str | None,
    typer.Option("--style-weights", metavar="W,W,...", help="Weights of the styles. [default: equal]"),
]
EdgeOption = Annotated[
    str | None,
    typer.Option("--edge", metavar="HOST:PORT", help="Edge server. [default: start the bundled Triton]"),
]
LocalOption = Annotated[
    bool, typer.Option("--local", help="Run the lite model in this process, without a server.")
]
TlsOption = Annotated[
    Path | None,
    typer.Option("--tls-ca", metavar="FILE", help="Connect with TLS; CA certificate of the edge (PEM)."),
]
TokenOption = Annotated[
    str,
    typer.Option("--token", envvar="MVSTYLIZER_TOKEN", help="Bearer token for the edge.", show_default=False),
]
MatchOption = Annotated[
    str,
    typer.Option(
        metavar="look|auto|palette|0..1",
        help="Follow the style's look (its grading) or its palette (its colors);"
        " auto decides by how alike the scenes are.",
    ),
]
MaxPixelsOption = Annotated[
    float,
    typer.Option(
        "--max-pixels",
        min=0.01,
        metavar="MILLIONS",
        help="Refuse a photo of more than so many million pixels.",
    ),
]
InputLutOption = Annotated[
    Path | None,
    typer.Option(
        "--input-lut", metavar="FILE.cube", help="3D LUT to apply first: from the camera's log to a display."
    ),
]
StrengthOption = Annotated[float, typer.Option(min=0, max=1, help="0 is the original, 1 the full style.")]


class LocalModelError(MVStylizerError):
    """Error raised when this installation cannot run a bundle's model."""


def parsed_match(text: str) -> Match:
    """Return the value of ``--match``.

    Raises:
        typer.BadParameter: It is none.
    """
    from mvstylizer.stylizer import LOOK, PALETTE

    named: dict[str, Match] = {"look": LOOK, "auto": "auto", "palette": PALETTE}
    try:
        match = named[text] if text in named else float(text)
    except ValueError:
        match = math.nan
    if match != "auto" and not 0 <= match <= 1:
        raise typer.BadParameter(f"{text} is not look, auto, palette or from 0 to 1", param_hint="--match")
    return match


@contextmanager
def open_stylizer(
    edge: str | None, local: bool, bundle: Bundle, tls_ca: Path | None = None, token: str = ""
) -> Iterator[Stylizer]:
    """Open the stylizer for key frames: an edge, this process, or the bundled Triton for this run.

    Args:
        edge: ``HOST:PORT``, or None.
        local: Run the model in this process.
        bundle: The model for this process or the bundled Triton.
        tls_ca: Connect with TLS; CA certificate of the edge.
        token: Bearer token for the edge.
    """
    from edge_triton.client.client import EdgeClient, Tls

    if local:
        with local_stylizer(bundle) as stylizer:
            yield stylizer
    elif edge:
        with EdgeClient(edge, frugal=True, tls=Tls(tls_ca) if tls_ca else None, token=token) as client:
            yield client
    else:
        from edge_triton.triton.server import TritonServer

        with TritonServer(bundle.path) as server, EdgeClient(server.address) as client:
            yield client


@contextmanager
def open_shared(
    edge: str | None, local: bool, bundle: Bundle, tls_ca: Path | None = None, token: str = ""
) -> Iterator[Callable[[], AbstractContextManager[Stylizer]]]:
    """Yield what opens stylizers for several threads: connections to one edge or to one bundled Triton."""
    if edge or local:
        yield lambda: open_stylizer(edge, local, bundle, tls_ca, token)
        return
    from edge_triton.client.client import EdgeClient
    from edge_triton.triton.server import TritonServer

    with TritonServer(bundle.path) as server:
        yield lambda: EdgeClient(server.address)


class StylizerBackend:
    """Where key frames are stylized.

    Args:
        edge: ``HOST:PORT``; None = the bundled Triton, for this run.
        local: Run the model in this process instead.
        bundle: The model's folder; defaults to the bundled model.
        tls_ca: Connect with TLS; CA certificate of the edge (PEM).
        token: Bearer token for the edge.
        no_fallback: Fail if the edge becomes unavailable.

    Attributes:
        model: The bundle.
        stylizer: Opens the stylizer for key frames.
        shared: Opens what opens stylizers for several threads.
        stylizer_without_server: Like `stylizer`, but in this process instead of the bundled Triton.
        fallback: Opens the fallback for the time that the edge is unavailable, or None.

    Raises:
        BundleError: The bundle is missing or damaged, or one of its models crashes its runtime.
        typer.BadParameter: `edge` and `local` are both given.
    """

    def __init__(
        self,
        edge: str | None,
        local: bool,
        bundle: Path | None,
        tls_ca: Path | None,
        token: str,
        no_fallback: bool = False,
    ) -> None:
        from device_runtime.trial import try_models
        from mvstylizer.bundle import load_bundle

        check_exclusive(edge, local)
        self.model = load_bundle(bundle_folder(bundle, "lite" if local else "mvstylizer"))
        try_models(self.model)
        self.stylizer: Callable[[], AbstractContextManager[Stylizer]] = lambda: open_stylizer(
            edge, local, self.model, tls_ca, token
        )
        self.shared: Callable[[], AbstractContextManager[Callable[[], AbstractContextManager[Stylizer]]]] = (
            lambda: open_shared(edge, local, self.model, tls_ca, token)
        )
        self.stylizer_without_server: Callable[[], AbstractContextManager[Stylizer]] = lambda: open_stylizer(
            edge, not edge, self.model, tls_ca, token
        )
        self.fallback: Callable[[], Stylizer] | None = None
        if not local and not no_fallback:
            self.fallback = lambda: local_stylizer(load_bundle(bundle_folder(bundle, "lite")))


def check_exclusive(edge: str | None, local: bool) -> None:
    """Check that an edge and a local run are not requested together.

    Raises:
        typer.BadParameter: They are.
    """
    if edge and local:
        raise typer.BadParameter("--edge and --local are mutually exclusive", param_hint="--local")


def local_stylizer(bundle: Bundle) -> TFLiteStylizer | OnnxStylizer:
    """Open a bundle's model in this process: TFLite, as on a phone, or ONNX if the bundle lacks it.

    Raises:
        LocalModelError: It is ONNX, and ONNX Runtime is not installed.
    """
    from device_runtime.stylizers.tflite_stylizer import TFLiteStylizer, has_tflite

    if has_tflite(bundle):
        return TFLiteStylizer(bundle)
    if find_spec("onnxruntime") is None:
        raise LocalModelError(
            f"The model {bundle.name} needs onnxruntime, which is not installed",
            "Run: pip install onnxruntime, or use the lite bundle",
        )
    from device_runtime.stylizers.onnx_stylizer import OnnxStylizer

    return OnnxStylizer(bundle)


def styles_with_weights(photos: list[Path], weights: str | None) -> dict[Path, float]:
    """Return photos with their weights in the mix, which sum to 1.

    Args:
        photos: The style photos.
        weights: Comma-separated, one per photo; None = equal.

    Raises:
        typer.BadParameter: The number of weights is wrong, a weight is invalid, or a photo is repeated.
    """
    from device_runtime.stylizers.style_mix import StyleWeightError, normalized

    try:
        shares = [1.0] * len(photos) if weights is None else [float(each) for each in weights.split(",")]
        if len(shares) != len(photos):
            raise StyleWeightError(f"{len(shares)} weights for {len(photos)} styles")
        if len(set(photos)) != len(photos):
            raise StyleWeightError("the same style is given twice")
        return normalized(dict(zip(photos, shares, strict=True)))
    except ValueError as err:
        raise typer.BadParameter(str(err), param_hint="--style-weights") from err
