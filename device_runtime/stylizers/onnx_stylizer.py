"""Run the stylizer in process: the bundle's ONNX files in ONNX Runtime, without a server.

Usage:
    with OnnxStylizer(load_bundle(folder)) as stylizer:
        code = stylizer.encode_style(style_photo)
        image = stylizer.stylize(frame, code).image
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from device_runtime.interpolation.grid import check_grid, check_map_output
from mvstylizer.bundle import Bundle
from mvstylizer.errors import MVStylizerError
from mvstylizer.stylizer import Reply, StylizedFrame

OUTPUTS: Final[dict[Reply, tuple[str, ...]]] = {
    "image": ("stylized",),
    "map": ("grid",),
    "both": ("stylized", "grid"),
}


class LocalStylizerError(MVStylizerError):
    """Error raised when the bundle's models cannot be loaded or run on this machine."""


class OnnxStylizer:
    """Implements `mvstylizer.stylizer.Stylizer` on this machine.

    Args:
        bundle: A loaded bundle; the hashes of its two ONNX files are verified.
        threads: Cores per request; 0 = all.
        provider: ONNX Runtime's execution provider.

    Raises:
        BundleError: A file is missing or differs from the manifest.
        LocalStylizerError: ONNX Runtime cannot load it.
        GridError: It is a model of an older release, with an affine map.
    """

    def __init__(self, bundle: Bundle, *, threads: int = 0, provider: str = "CPUExecutionProvider") -> None:
        self._style_encoder = _session(bundle.file("style_encoder"), threads, provider)
        self._stylizer = _session(bundle.file("stylizer"), threads, provider)
        check_map_output({output.name for output in self._stylizer.get_outputs()}, "stylizer.onnx")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Do nothing: memory is released with the object."""

    def encode_style(self, style: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the style code of a style photo; see `Stylizer.encode_style`.

        Raises:
            LocalStylizerError: ONNX Runtime reports a failure.
        """
        (code,) = _run(self._style_encoder, ("style_code",), {"style": style[None]})
        return np.asarray(code[0], np.float32)

    def stylize(
        self,
        frame: NDArray[np.uint8],
        style_code: NDArray[np.float32],
        *,
        r: float = 1.0,
        reply: Reply = "image",
    ) -> StylizedFrame:
        """Stylize one frame; see `Stylizer.stylize`. Requesting the map alone skips the full-size work.

        Raises:
            LocalStylizerError: ONNX Runtime reports a failure.
            GridError: The map is not finite or out of range.
        """
        inputs: dict[str, NDArray[Any]] = {
            "frame": frame[None],
            "style_code": style_code[None],
            "r": np.array([r], np.float32),
        }
        found = dict(zip(OUTPUTS[reply], _run(self._stylizer, OUTPUTS[reply], inputs), strict=True))
        image, grid = found.get("stylized"), found.get("grid")
        return StylizedFrame(
            None if image is None else image[0],
            None if grid is None else check_grid(grid[0].reshape(*grid.shape[1:4], 3, 4)),
        )


def _session(path: Path, threads: int, provider: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Memory patterns help inputs of a fixed size only; for other sizes they keep a second copy of everything.
    options.enable_mem_pattern = False
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:  # ONNX Runtime's exceptions have no narrower base class
        raise LocalStylizerError(f"{path} cannot be loaded ({error})", "Export the bundle again") from error


def _run(
    session: onnxruntime.InferenceSession, outputs: tuple[str, ...], inputs: dict[str, NDArray[Any]]
) -> list[NDArray[Any]]:
    try:
        return [np.asarray(value) for value in session.run(list(outputs), inputs)]
    except Exception as error:  # see _session
        raise LocalStylizerError(
            f"The model failed ({error})", "Use a bundle and a program of the same release"
        ) from error
