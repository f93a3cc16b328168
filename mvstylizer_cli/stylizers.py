"""What commands of the main job share: which styles are wanted, and where key frames are stylized."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mvstylizer_cli.console import bundle_folder

if TYPE_CHECKING:
    from mvstylizer.bundle import Bundle
    from mvstylizer.stylizer import Stylizer

StyleOption = Annotated[
    list[Path],
    typer.Option("--style", metavar="PHOTO", help="Photo whose style is wanted; several are mixed."),
]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        "--style-weights", metavar="W,W,...", help="Share of each style, in their order. [default: equal]"
    ),
]
EdgeOption = Annotated[
    str | None,
    typer.Option(
        "--edge", metavar="HOST:PORT", help="Edge server. Left away: the bundled Triton is started."
    ),
]
LocalOption = Annotated[
    bool, typer.Option("--local", help="No server: run the model for devices in this process.")
]
TlsOption = Annotated[
    Path | None,
    typer.Option(
        "--tls-ca", metavar="FILE", help="Speak TLS with the edge; who signs its certificate (PEM)."
    ),
]
TokenOption = Annotated[
    str,
    typer.Option("--token", envvar="MVSTYLIZER_TOKEN", help="Bearer token for the edge.", show_default=False),
]
StrengthOption = Annotated[
    float, typer.Option(min=0, max=1, help="0 leaves the video as it is, 1 is full style.")
]


@contextmanager
def open_stylizer(
    edge: str | None, local: bool, bundle: Bundle, tls_ca: Path | None = None, token: str = ""
) -> Iterator[Stylizer]:
    """Open what stylizes key frames: a given edge, this process, or the bundled Triton for this run.

    Args:
        edge: ``HOST:PORT``, or None.
        local: In this process.
        bundle: What this process, or the bundled Triton, runs.
        tls_ca: Speak TLS with the edge; who signs its certificate.
        token: Bearer token for the edge.
    """
    from edge_triton.client.client import EdgeClient, Tls

    if local:
        from device_runtime.stylizers.onnx_stylizer import OnnxStylizer

        with OnnxStylizer(bundle) as stylizer:
            yield stylizer
    elif edge:
        with EdgeClient(edge, frugal=True, tls=Tls(tls_ca) if tls_ca else None, token=token) as client:
            yield client
    else:
        from edge_triton.triton.server import TritonServer

        with TritonServer(bundle.path) as server, EdgeClient(server.address) as client:
            yield client


class Engine:
    """Where key frames are stylized.

    Args:
        edge: ``HOST:PORT``; None = the bundled Triton, for this run.
        local: In this process instead.
        bundle: The model's folder; None = the shipped one that fits.
        tls_ca: Speak TLS with the edge; who signs its certificate (PEM).
        token: Bearer token for the edge.
        no_fallback: Nothing stands in for an edge that goes away.

    Attributes:
        model: The bundle.
        stylizer: Opens what stylizes key frames.
        fallback: Opens what stands in while the edge is away, or None.

    Raises:
        BundleError: No such bundle, or a damaged one.
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
        from mvstylizer.bundle import load_bundle

        if edge and local:
            raise typer.BadParameter("--edge and --local exclude each other", param_hint="--local")
        self.model = load_bundle(bundle_folder(bundle, "lite" if local else "mvstylizer"))
        self.stylizer: Callable[[], AbstractContextManager[Stylizer]] = lambda: open_stylizer(
            edge, local, self.model, tls_ca, token
        )
        self.fallback: Callable[[], Stylizer] | None = None
        if not local and not no_fallback:
            self.fallback = lambda: device_stylizer(bundle)


def device_stylizer(bundle: Path | None) -> Stylizer:
    """Open what stands in while the edge is away: TFLite where the bundle has it, as a phone has no more."""
    from device_runtime.stylizers.tflite_stylizer import TFLiteStylizer, has_tflite
    from mvstylizer.bundle import load_bundle

    model = load_bundle(bundle_folder(bundle, "lite"))
    if has_tflite(model):
        return TFLiteStylizer(model)
    from device_runtime.stylizers.onnx_stylizer import OnnxStylizer

    return OnnxStylizer(model)


def styles_with_weights(photos: list[Path], weights: str | None) -> dict[Path, float]:
    """Return photos with their shares of the mix, which sum to 1.

    Args:
        photos: In the order given.
        weights: Comma-separated, one for each; None = equal.

    Raises:
        typer.BadParameter: Another number of weights, one that is no weight, or a photo that is given twice.
    """
    from device_runtime.stylizers.style_mix import StyleWeightError, normalised

    try:
        shares = [1.0] * len(photos) if weights is None else [float(each) for each in weights.split(",")]
        if len(shares) != len(photos):
            raise StyleWeightError(f"{len(shares)} weights for {len(photos)} styles")
        if len(set(photos)) != len(photos):
            raise StyleWeightError("a style is given twice")
        return normalised(dict(zip(photos, shares, strict=True)))
    except ValueError as err:
        raise typer.BadParameter(str(err), param_hint="--style-weights") from err
