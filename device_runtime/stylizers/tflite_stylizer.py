"""Run the stylizer on the device: the lite bundle's TFLite files in LiteRT, without other dependencies.

This is the fallback while the edge is unavailable. The network sees thumbnails and returns a look-up table;
a bilateral grid is fitted to it at the network's size and applied to the full-size frame by the same kernel
that makes intermediate frames.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from device_runtime.interpolation.grid import check_grid
from device_runtime.kernels.interpreter import KernelError, KernelInterpreter, check_image
from device_runtime.kernels.transfer import Transfer
from device_runtime.stylizers.lut_grid import lut_grid
from device_runtime.stylizers.resize import HeightWidth, network_size, resized, style_size, thumbnail
from mvstylizer.bundle import LITE_ROLES, Bundle
from mvstylizer.stylizer import BilateralGrid, Reply, StylizedFrame

STYLE_ENCODER, LOOK = LITE_ROLES
MAX_THREADS: Final = 4  # phones have at most this many fast cores
_FIT: Final = {"cell": "map_cell", "bins": "bins", "ridge": "ridge"}  # options of the fit in the manifest


def has_tflite(bundle: Bundle) -> bool:
    """Return whether a bundle contains the network as TFLite; lite bundles do."""
    return set(LITE_ROLES) <= {spec.role for spec in bundle.files}


class TFLiteStylizer:
    """Implements `mvstylizer.stylizer.Stylizer` on this device. One call at a time.

    Args:
        bundle: A loaded lite bundle; the hashes of the files used are verified.
        threads: Cores per call; defaults to all, at most 4.

    Raises:
        BundleError: A file is missing or differs from the manifest.
        KernelError: LiteRT cannot load one.
    """

    def __init__(self, bundle: Bundle, *, threads: int | None = None) -> None:
        count = min(MAX_THREADS, os.cpu_count() or 1) if threads is None else threads
        self._network = bundle.network
        self._encoder = _Model(bundle.file(STYLE_ENCODER), "style_code", count)
        self._look = _Model(bundle.file(LOOK), "lut", count)
        self._transfer = Transfer(bundle.file("transfer"), threads=count)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the threads; memory is released with the object."""
        self._transfer.close()

    def encode_style(self, style: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the style code of a style photo; see `Stylizer.encode_style`.

        Raises:
            KernelError: It is not a uint8 picture, or LiteRT reports a failure.
        """
        check_image(style, "Style")
        size = style_size(*style.shape[:2], pixels=self._network["style_pixels"])
        return self._encoder.run(thumb=thumbnail(resized(style, size)))

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
            KernelError: The frame or code has the wrong type or shape, r is not above 0, or LiteRT fails.
            GridError: The map is not finite or out of range.
        """
        check_image(frame, "Frame")
        grid = self._grid(frame, style_code)
        image = None
        if reply != "map":
            image = self._transfer(resized(frame, _scaled(frame.shape[:2], r)), grid)
        return StylizedFrame(image, None if reply == "image" else grid)

    def _grid(self, frame: NDArray[np.uint8], style_code: NDArray[np.float32]) -> BilateralGrid:
        expected = (self._network["style_code"],)
        if style_code.dtype != np.float32 or style_code.shape != expected:
            raise KernelError(
                f"Style code is {style_code.dtype} {style_code.shape}, not float32 {expected}",
                "Encode the style with the same model",
            )
        network = self._network
        size = network_size(*frame.shape[:2], pixels=network["network_pixels"], cell=network["map_cell"])
        small = resized(frame, size)
        lut = self._look.run(thumb=thumbnail(small), style_code=style_code)
        fit = {name: network[key] for name, key in _FIT.items()}
        return check_grid(lut_grid(small, lut, **fit))


class _Model:
    """One TFLite file with inputs of fixed sizes and one output."""

    def __init__(self, path: Path, output: str, threads: int) -> None:
        self._interpreter = KernelInterpreter(path, threads=threads)
        self._interpreter.resize({})
        self._output = output

    def run(self, **inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the output for inputs by name; none of them has a batch axis."""
        for name, value in inputs.items():
            self._interpreter.put(name, value[None])
        self._interpreter.invoke()
        return np.asarray(self._interpreter.get(self._output)[0])


def _scaled(size: tuple[int, ...], r: float) -> HeightWidth:
    if not 0 < r < float("inf"):
        raise KernelError(f"Upscaling factor r is {r}; it must be above 0")
    height, width = (max(1, round(float(np.float32(r)) * side)) for side in size)
    return height, width
