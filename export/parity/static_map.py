"""Compare a static map file with the bundle's own ``stylizer_map.onnx``, without torch."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import onnxruntime

from export.parity.test_images import parity_picture, pictures
from export.runtimes.cpu import run_on_cpu
from export.runtimes.difference import Differences, Tolerance
from mvstylizer.bundle import Bundle, FileSpec

_ROLE = re.compile(r"stylizer_map_\d+x\d+")
LANE = "XNNPACK"


def is_static_map(spec: FileSpec) -> bool:
    """Return whether a bundle's file is built by `export.kernels.static_map`."""
    return _ROLE.fullmatch(spec.role) is not None


def check_static_map(bundle: Bundle, role: str) -> dict[str, Any]:
    """Compare the maps with those of ``stylizer_map.onnx``, which the golden vectors check.

    Returns:
        The parity row (`Differences.summary`), relative to the largest entry of each map.

    Raises:
        ParityError: A map differs by more than `Tolerance.MAP`.
        BundleError: The hash of a file differs.
        LaneError: LiteRT rejects the file.
    """
    encoder, mapper = (
        onnxruntime.InferenceSession(str(bundle.file(each)), providers=["CPUExecutionProvider"])
        for each in ("style_encoder", "stylizer_map")
    )
    (code,) = encoder.run(None, {"style": parity_picture(144, 192, seed=9)[None]})
    content = bundle.file(role).read_bytes()
    spec = bundle.spec(role)
    _, height, width, _ = next(each.shape for each in spec.inputs if each.name == "frame")
    differences = Differences(spec.path, Tolerance.MAP, 1.0)
    for kind, picture in pictures(height, width):
        inputs = {"frame": picture[None], "style_code": code}
        (expected,) = mapper.run(None, inputs)
        (found,) = run_on_cpu(content, inputs, LANE)
        scale = max(1.0, float(np.abs(expected).max()))
        differences.add(kind, LANE, found / scale, expected / scale)
    return differences.summary()
