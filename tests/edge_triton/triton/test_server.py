"""The real bundled server: what it computes, and what it rejects."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import psutil
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from edge_triton.client.client import EdgeClient, EdgeRefusedError, EdgeUnavailableError
from edge_triton.triton.repository import write_repository
from edge_triton.triton.server import ServerDiedError, ServerStartError, TritonServer
from mvstylizer.bundle import Bundle, BundleError

pytestmark = pytest.mark.server
Descendants = Callable[[str], set[psutil.Process]]
Photo = Callable[[int, int], np.ndarray]
STYLE_CODE = np.array([0.2, 0.5, 0.8], np.float32)


def in_process(bundle: Bundle, role: str, **feeds: np.ndarray) -> list[np.ndarray]:
    session = ort.InferenceSession(str(bundle.file(role)), providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def test_style_code_equals_in_process(client: EdgeClient, bundle: Bundle, photo: Photo) -> None:
    style = photo(70, 131)
    code = client.encode_style(style)
    np.testing.assert_array_equal(code, in_process(bundle, "style_encoder", style=style[None])[0][0])
    np.testing.assert_allclose(code, style.mean((0, 1)) / 255, rtol=1e-5)


@pytest.mark.parametrize(
    ("height", "width", "r"), [(64, 64, 1.0), (37, 91, 2.5), (200, 17, 1.31), (1, 1, 3.0)]
)
def test_key_frame_equals_in_process(
    client: EdgeClient, bundle: Bundle, photo: Photo, height: int, width: int, r: float
) -> None:
    frame = photo(height, width)
    image, grid, *_ = client.stylize(frame, STYLE_CODE, r=r, reply="both")
    expected = in_process(
        bundle, "stylizer", frame=frame[None], style_code=STYLE_CODE[None], r=np.array([r], np.float32)
    )
    assert image is not None
    assert grid is not None
    assert image.shape == (round(r * height), round(r * width), 3)
    np.testing.assert_array_equal(image, expected[0][0])
    np.testing.assert_array_equal(grid.reshape(*grid.shape[:3], 12), expected[1][0])
    np.testing.assert_array_equal(grid[0, 0, 1, :, :3], np.eye(3) / 2)
    np.testing.assert_allclose(grid[0, 0, 1, :, 3], STYLE_CODE / 2)


def test_replies_contain_the_requested_outputs(client: EdgeClient, photo: Photo) -> None:
    frame = photo(48, 64)
    both = client.stylize(frame, STYLE_CODE, reply="both")
    image, no_map, *_ = client.stylize(frame, STYLE_CODE, reply="image")
    no_image, grid, *_ = client.stylize(frame, STYLE_CODE, reply="map")
    assert no_map is None
    assert no_image is None
    np.testing.assert_array_equal(image, both.image)
    np.testing.assert_array_equal(grid, both.grid)


def test_map_only_request_skips_the_full_size_image(client: EdgeClient, photo: Photo) -> None:
    frame = photo(600, 20)  # the tiny stylizer fails above 512 rows
    with pytest.raises(EdgeUnavailableError, match="the model failed on this input") as caught:
        client.stylize(frame, STYLE_CODE, reply="image")
    assert "/" not in caught.value.message
    grid = client.stylize(frame, STYLE_CODE, reply="map").grid
    assert grid is not None
    assert grid.shape == (38, 2, 2, 3, 4)


def test_style_code_and_frame_of_any_memory_order(client: EdgeClient, photo: Photo) -> None:
    frame = photo(40, 60)
    turned = np.rot90(frame)[:, ::-1]
    np.testing.assert_array_equal(
        client.stylize(turned, STYLE_CODE.astype(np.float64)).image,
        client.stylize(turned.copy(), STYLE_CODE).image,
    )


def test_4k_frames_fit(client: EdgeClient, photo: Photo) -> None:
    frame = np.tile(photo(108, 192), (20, 20, 1))
    image = client.stylize(frame, STYLE_CODE, r=0.2).image
    assert image is not None
    assert image.shape == (432, 768, 3)
    assert client.encode_style(frame).shape == (3,)


def feed(**changes: Any) -> list[triton.InferInput]:
    """Return the tensors of a valid request with some replaced; None omits one."""
    arrays = {
        "frame": np.zeros((1, 8, 8, 3), np.uint8),
        "style_code": STYLE_CODE[None],
        "r": np.array([1], np.float32),
        **changes,
    }
    tensors = []
    for name, value in arrays.items():
        if value is not None:
            kind = {"uint8": "UINT8", "float32": "FP32", "int64": "INT64"}[value.dtype.name]
            tensors.append(triton.InferInput(name, list(value.shape), kind))
            tensors[-1].set_data_from_numpy(value)
    return tensors


@pytest.mark.parametrize(
    "changes",
    [
        {"frame": np.zeros((1, 8, 8, 3), np.float32)},
        {"frame": np.zeros((1, 8, 8, 4), np.uint8)},
        {"frame": np.zeros((2, 8, 8, 3), np.uint8)},
        {"frame": np.zeros((8, 8, 3), np.uint8)},
        {"frame": np.zeros((1, 0, 8, 3), np.uint8)},
        {"frame": None},
        {"style_code": np.zeros((1, 4), np.float32)},
        {"style_code": np.full((1, 3), np.nan, np.float32)},
        {"style_code": np.full((1, 3), np.inf, np.float32)},
        {"r": np.array([0], np.float32)},
        {"r": np.array([-2], np.float32)},
        {"r": np.array([np.nan], np.float32)},
        {"r": np.array([np.inf], np.float32)},
        {"r": np.array([3e38], np.float32)},
        {"r": np.array([5000], np.float32)},
        {"r": np.array([1], np.int64)},
        {"r": np.array([1, 1], np.float32)},
    ],
    ids=lambda changes: "-".join(f"{k}{'' if v is None else (v.dtype, v.shape)}" for k, v in changes.items()),
)
def test_bad_requests_are_rejected_and_the_server_survives(
    server: TritonServer, client: EdgeClient, changes: dict[str, Any]
) -> None:
    with (
        triton.InferenceServerClient(server.address) as raw,
        pytest.raises(InferenceServerException) as caught,
    ):
        raw.infer("stylizer", feed(**changes))
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert client.stylize(np.zeros((8, 8, 3), np.uint8), STYLE_CODE).image is not None


def test_rejection_raises_edge_refused_error(client: EdgeClient) -> None:
    with pytest.raises(EdgeRefusedError, match="upscaling factor"):
        client.stylize(np.zeros((8, 8, 3), np.uint8), STYLE_CODE, r=-1)


def test_model_version_can_be_pinned(server: TritonServer, photo: Photo) -> None:
    with EdgeClient(server.address, model_version="1") as right:
        assert right.encode_style(photo(8, 8)).shape == (3,)
    with (
        EdgeClient(server.address, model_version="2", patience_s=0) as wrong,
        pytest.raises(EdgeRefusedError),
    ):
        wrong.encode_style(photo(8, 8))


def test_server_listens_on_loopback_only(server: TritonServer) -> None:
    connections = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has just ended
            connections += process.net_connections()
    listening = [c.laddr for c in connections if c.status == psutil.CONN_LISTEN]
    # gRPC listens on a dual-stack socket: IPv4 addresses appear as IPv6-mapped ones.
    addresses = [f"{one.ip.removeprefix('::ffff:')}:{one.port}" for one in listening]
    assert addresses.count(server.address) == 1
    assert all(address.startswith("127.0.0.1:") for address in addresses)


def test_two_servers_run_side_by_side(
    client: EdgeClient, bundle: Bundle, new_bundle: Bundle, tmp_path: Path
) -> None:
    write_repository(tmp_path / "repository", new_bundle)
    with TritonServer(tmp_path / "repository") as other, EdgeClient(other.address) as theirs:
        assert other.address != client.address
        assert theirs.server_info().name != client.server_info().name
        gray = np.full((16, 16, 3), 100, np.uint8)
        np.testing.assert_array_equal(theirs.encode_style(gray), client.encode_style(gray))
        with EdgeClient(other.address, model_version=str(new_bundle.version)) as pinned:
            assert pinned.encode_style(gray).shape == (3,)
    assert client.encode_style(gray).shape == (3,)
    assert (tmp_path / "repository" / "stylizer").is_dir()


def test_error_names_the_taken_port(server: TritonServer, bundle: Bundle) -> None:
    port = int(server.address.rpartition(":")[2])
    with pytest.raises(ServerStartError, match=f"Port {port}"):
        TritonServer(bundle.path, port=port).start()


def test_error_names_a_model_that_does_not_load(bundle: Bundle, tmp_path: Path) -> None:
    write_repository(tmp_path, bundle)
    (tmp_path / "stylizer" / "1" / "model.onnx").write_bytes(b"not a model")
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(ServerStartError, match="'stylizer' version 1"):
        TritonServer(tmp_path).start()
    assert set(psutil.Process().children(recursive=True)) <= before


def test_error_for_a_folder_that_is_neither_bundle_nor_repository(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle"):
        TritonServer(tmp_path).start()


def check_forever(server: TritonServer) -> None:
    while True:
        server.check()


def test_killed_server_is_detected_and_can_be_restarted(
    bundle: Bundle, photo: Photo, descendants: Descendants
) -> None:
    before = descendants("tritonserver")
    with TritonServer(bundle.path) as server:
        server.check()
        (process,) = descendants("tritonserver") - before
        process.kill()
        with pytest.raises(ServerDiedError, match="SIGKILL"):
            check_forever(server)
        server.stop()
        server.start()
        with EdgeClient(server.address) as client:
            assert client.encode_style(photo(8, 8)).shape == (3,)
    with pytest.raises(ServerDiedError, match="not running"):
        server.check()
