"""Traffic of a 1080p key frame to the edge and back, with the bundled model and real photos."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from skimage import data

from device_runtime.kernels import Transfer
from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
from device_runtime.stylizers.resize import shrunk
from edge_triton.client.encoding import Wire
from edge_triton.client.grid_codec import pack_grid, unpack_grid
from mvstylizer.bundle import default_bundle, load_bundle

FULL_HD = (1920, 1080)


@pytest.fixture(scope="module")
def stylizer() -> Iterator[OnnxStylizer]:
    with OnnxStylizer(load_bundle(default_bundle())) as loaded:
        yield loaded


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "rocket", "coffee"])
def test_a_key_frame_sends_50_kb_and_receives_10(stylizer: OnnxStylizer, name: str) -> None:
    frame = cv2.resize(getattr(data, name)(), FULL_HD, interpolation=cv2.INTER_CUBIC)
    code = stylizer.encode_style(data.immunohistochemistry())
    small = shrunk(frame, 512 * 288)
    sent = bytes(Wire(is_frugal=True).packed("frame", small[None])[0])
    assert len(sent) + code.nbytes < 50_000
    seen = cv2.imdecode(np.frombuffer(sent, np.uint8), cv2.IMREAD_COLOR_RGB)
    wanted = stylizer.stylize(small, code, reply="map").grid
    got = stylizer.stylize(np.asarray(seen, np.uint8), code, reply="map").grid
    assert wanted is not None
    assert got is not None
    packed = pack_grid(got)
    assert len(packed) <= 10_000
    with Transfer(load_bundle(default_bundle()).file("transfer")) as transfer:
        exact = transfer(frame, wanted)
        shown = transfer(frame, unpack_grid(packed))
    assert cv2.PSNR(exact, shown) > 38
