"""Stylize a photo through an edge with NVIDIA's Triton client, without importing MVStylizer.

    mvstylizer serve --port 8001
    python examples/triton_client.py 127.0.0.1:8001 photo.jpg samples/dusk.jpg stylized.jpg

Requires `pip install tritonclient[grpc] numpy`. The gateway decodes and encodes JPEG.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import tritonclient.grpc as triton
from numpy.typing import NDArray


def jpeg(name: str, path: Path) -> triton.InferInput:
    """Return a JPEG file as the input ``NAME_jpeg``: BYTES of shape [1]."""
    tensor = triton.InferInput(f"{name}_jpeg", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([path.read_bytes()], np.object_))
    return tensor


def floats(name: str, values: NDArray[np.float32]) -> triton.InferInput:
    """Return a float32 array as an input."""
    tensor = triton.InferInput(name, list(values.shape), "FP32")
    tensor.set_data_from_numpy(values)
    return tensor


def stylize(address: str, photo: Path, style: Path, out: Path) -> str:
    """Stylize a photo, write the result as a JPEG, and return the version of the model that made it."""
    with triton.InferenceServerClient(address) as edge:
        # Encode the style photo once; its code then goes with every frame.
        code = edge.infer("style_encoder", [jpeg("style", style)]).as_numpy("style_code")
        result = edge.infer(
            "stylizer",
            [jpeg("frame", photo), floats("style_code", code), floats("r", np.ones(1, np.float32))],
            outputs=[triton.InferRequestedOutput("stylized_jpeg")],
            parameters={"jpeg_quality": 90},
        )
    out.write_bytes(result.as_numpy("stylized_jpeg")[0])
    version: str = result.get_response().model_version
    return version


if __name__ == "__main__":
    address, photo, style, out = sys.argv[1:]
    version = stylize(address, Path(photo), Path(style), Path(out))
    print(f"{out}, by version {version} of the stylizer")  # noqa: T201
