"""A small bundle that keeps the contract, and one server that serves it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_triton.client.client import EdgeClient
from edge_triton.edge import Edge, EdgeOptions
from edge_triton.gateway.guard import Limits
from edge_triton.triton import reaper
from edge_triton.triton.server import TritonServer
from mvstylizer.bundle import Bundle, TensorSpec, file_spec, load_bundle, write_manifest

CELL = 16
TALLEST = 512
CODE = 3

STYLE = TensorSpec("style", "uint8", (1, -1, -1, 3), "NHWC RGB", "0..255")
STYLE_CODE = TensorSpec("style_code", "float32", (1, CODE), "", "")
FRAME = TensorSpec("frame", "uint8", (1, -1, -1, 3), "NHWC RGB", "0..255")
FACTOR = TensorSpec("r", "float32", (1,), "", "> 0")
STYLIZED = TensorSpec("stylized", "uint8", (1, -1, -1, 3), "NHWC RGB", "0..255")
AFFINE_MAP = TensorSpec("affine_map", "float32", (1, -1, -1, 12), "NHWC 3x4", "")


def _value_info(spec: TensorSpec) -> onnx.ValueInfoProto:
    dtype = {"uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT}[spec.dtype]
    return helper.make_tensor_value_info(spec.name, dtype, [None if d < 0 else d for d in spec.shape])


def _save(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    constants: dict[str, np.ndarray],
) -> None:
    graph = helper.make_graph(
        nodes,
        path.stem,
        [_value_info(spec) for spec in inputs],
        [_value_info(spec) for spec in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _save_style_encoder(path: Path, gain: float) -> None:
    """Mean colour of the style, 0..gain."""
    node = helper.make_node
    nodes = [
        node("Cast", ["style"], ["f"], to=TensorProto.FLOAT),
        node("ReduceMean", ["f", "axes"], ["mean"], keepdims=0),
        node("Div", ["mean", "white"], ["style_code"]),
    ]
    constants = {"axes": np.array([1, 2]), "white": np.array(255 / gain, np.float32)}
    _save(path, nodes, (STYLE,), (STYLE_CODE,), constants)


def _save_stylizer(path: Path) -> None:
    """Half the frame plus half the style's mean colour, enlarged by r; and the same as a map.

    The image has a trip-wire: making one that is higher than `TALLEST` fails.
    """
    node = helper.make_node
    coefficients = np.zeros((CODE, 12), np.float32)
    coefficients[range(3), [3, 7, 11]] = 0.5
    gain = np.zeros((1, 12), np.float32)
    gain[0, [0, 5, 10]] = 0.5
    constants = {
        "coefficients": coefficients, "gain": gain, "white": np.array(255, np.float32),
        "half": np.array(0.5, np.float32), "zero": np.array(0, np.float32),
        "one": np.array([1]), "first": np.array([0]),
        "three": np.array([3]), "twelve": np.array([12]), "cell": np.array([CELL]),
        "below": np.array([CELL - 1]), "cell_shape": np.array([1, 1, 1, 12]),
        "pixel_shape": np.array([1, 1, 1, CODE]), "no_roi": np.zeros(0, np.float32),
        "no_scales": np.zeros(0, np.float32), "wire": np.zeros(TALLEST, np.float32),
    }  # fmt: skip
    nodes = [
        node("Shape", ["frame"], ["size"], start=1, end=3),
        # affine_map
        node("MatMul", ["style_code", "coefficients"], ["offsets"]),
        node("Add", ["offsets", "gain"], ["row"]),
        node("Reshape", ["row", "cell_shape"], ["one_cell"]),
        node("Add", ["size", "below"], ["up"]),
        node("Div", ["up", "cell"], ["grid"]),
        node("Concat", ["one", "grid", "twelve"], ["map_shape"], axis=0),
        node("Expand", ["one_cell", "map_shape"], ["affine_map"]),
        # stylized
        node("Cast", ["size"], ["size_f"], to=TensorProto.FLOAT),
        node("Mul", ["size_f", "r"], ["larger_f"]),
        node("Round", ["larger_f"], ["rounded"]),
        node("Cast", ["rounded"], ["larger"], to=TensorProto.INT64),
        node("Concat", ["one", "larger", "three"], ["image_shape"], axis=0),
        node("Cast", ["frame"], ["frame_f"], to=TensorProto.FLOAT),
        node("Resize", ["frame_f", "no_roi", "no_scales", "image_shape"], ["big"], mode="nearest"),
        node("Gather", ["larger", "first"], ["height"]),
        node("Sub", ["height", "one"], ["last"]),
        node("Gather", ["wire", "last"], ["nothing"]),
        node("Mul", ["big", "half"], ["dim"]),
        node("Mul", ["style_code", "white"], ["style_255"]),
        node("Mul", ["style_255", "half"], ["tint"]),
        node("Reshape", ["tint", "pixel_shape"], ["tint_pixel"]),
        node("Add", ["dim", "tint_pixel"], ["sum"]),
        node("Add", ["sum", "nothing"], ["whole"]),
        node("Clip", ["whole", "zero", "white"], ["clipped"]),
        node("Round", ["clipped"], ["levels"]),
        node("Cast", ["levels"], ["stylized"], to=TensorProto.UINT8),
    ]
    _save(path, nodes, (FRAME, STYLE_CODE, FACTOR), (STYLIZED, AFFINE_MAP), constants)


def make_bundle(folder: Path, version: int = 1, gain: float = 1.0) -> Bundle:
    folder.mkdir(parents=True, exist_ok=True)
    _save_style_encoder(folder / "style_encoder.onnx", gain)
    _save_stylizer(folder / "stylizer.onnx")
    files = (
        file_spec(folder, "style_encoder", "style_encoder.onnx", (STYLE,), (STYLE_CODE,)),
        file_spec(folder, "stylizer", "stylizer.onnx", (FRAME, STYLE_CODE, FACTOR), (STYLIZED, AFFINE_MAP)),
    )
    write_manifest(Bundle(folder, "tiny", version, files))
    return load_bundle(folder)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A real bundle of two tiny ONNX models."""
    return make_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="session")
def bundle_maker() -> Callable[..., Bundle]:
    """Make a bundle: `bundle_maker(folder, version, gain)`; the gain scales its style codes."""
    return make_bundle


@pytest.fixture
def new_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The same models as version 7, the test's own."""
    return make_bundle(tmp_path_factory.mktemp("bundle"), version=7)


@pytest.fixture(scope="session")
def server(bundle: Bundle) -> Iterator[TritonServer]:
    """One running server that the tests share."""
    with TritonServer(bundle.path) as running:
        yield running


@pytest.fixture
def client(server: TritonServer) -> Iterator[EdgeClient]:
    with EdgeClient(server.address) as connected:
        yield connected


class RunningEdge:
    """An edge in an event loop of its own, in a thread."""

    def __init__(self, bundle: Path, options: EdgeOptions) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.edge = Edge(bundle, options)
        self.watch: asyncio.Task[None] | None = None

    def call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def until(self, holds: Callable[[], bool], seconds: float = 300) -> None:
        """Wait until something holds; fail when the edge has ended by itself, or after a long while."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert self.watch is not None
            assert not self.watch.done(), self.watch
            assert time.monotonic() < deadline
            time.sleep(0.02)

    async def start(self) -> None:
        await self.edge.start()
        self.watch = asyncio.create_task(self.edge.run())

    async def stop(self) -> None:
        if self.watch is not None:
            self.watch.cancel()
            await asyncio.wait([self.watch])
        await self.edge.stop(0.0)

    def close(self) -> None:
        self.call(self.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


# Tests are impatient: thousands of requests a second from one client are no attack here.
OPEN = Limits(rate=1e6, burst=10**6, answer_s=300)


@contextmanager
def running_edge(bundle: Bundle, **options: Any) -> Iterator[RunningEdge]:
    edge = RunningEdge(bundle.path, EdgeOptions(**{"port": 0, "limits": OPEN, **options}))
    try:
        edge.call(edge.start())
        yield edge
    finally:
        edge.close()


@pytest.fixture(scope="session")
def kin() -> Callable[[str], set[psutil.Process]]:
    """Find the running descendants of this process whose names start so."""

    def find(name: str) -> set[psutil.Process]:
        found = set()
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # it has just ended
                if process.name().startswith(name):
                    found.add(process)
        return found

    return find


StartEdge = Callable[..., AbstractContextManager[RunningEdge]]


@pytest.fixture(scope="session")
def start_edge() -> StartEdge:
    """Start an edge of the test's own: `with start_edge(bundle, **options) as running`."""
    return running_edge


@pytest.fixture(scope="session")
def edge(bundle: Bundle) -> Iterator[Edge]:
    """One edge that the tests share."""
    with running_edge(bundle) as running:
        yield running.edge


@pytest.fixture
def phone(edge: Edge) -> Iterator[EdgeClient]:
    with EdgeClient(edge.address) as connected:
        yield connected


@pytest.fixture
def photo() -> Callable[[int, int], np.ndarray]:
    """Make an image of a given height and width: smooth colour plus noise."""

    def make(height: int, width: int) -> np.ndarray:
        y, x = np.mgrid[0:height, 0:width]
        ramp = np.stack([x * 255 / width, y * 255 / height, 255 - x * 255 / width], axis=-1)
        noise = np.random.default_rng(height * width).normal(0, 8, ramp.shape)
        return np.clip(ramp + noise, 0, 255).astype(np.uint8)

    return make


class Victim:
    """A program that uses a server, in a session of its own, to be ended in every way.

    Args:
        body: Python statements; `bundle` is the bundle's folder. They print the address when ready.
        bundle: What to serve.
        tmp: Its temporary folder.
    """

    IMPORTS = """
import os, signal, sys, time
from pathlib import Path
import numpy as np
from edge_triton.client.client import EdgeClient
from edge_triton.edge import EdgeOptions
from edge_triton.serve import serve
from edge_triton.triton.server import TritonServer
bundle = Path(sys.argv[1])
"""

    def __init__(self, body: str, bundle: Bundle, tmp: Path) -> None:
        self.tmp = tmp
        self.began = time.time()
        self.process = subprocess.Popen(
            [sys.executable, "-c", self.IMPORTS + body, str(bundle.path)],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "TMPDIR": str(tmp)},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.address = self.read_line()
        self.family = psutil.Process(self.process.pid).children(recursive=True)
        self.regions, self.scratch = [], []
        for process in self.family:
            with suppress(psutil.NoSuchProcess):  # it has just ended
                if process.name().startswith("triton_python"):
                    self.regions.append(reaper.SHARED_MEMORY / process.cmdline()[2])
        for path in reaper.SCRATCH.glob("python_env_*"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime >= self.began:
                    self.scratch.append(path)

    def read_line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=300)

    def traces(self) -> list[object]:
        """What is left some minutes after the end: processes, shared memory, files."""
        _, alive = psutil.wait_procs(self.family, timeout=120)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and any(self.tmp.iterdir()):
            time.sleep(0.05)  # a dead parent's keeper still tidies up
        left = [path for path in (*self.regions, *self.scratch, *self.tmp.iterdir()) if path.exists()]
        return [*alive, *left]


@pytest.fixture
def victim(bundle: Bundle, tmp_path: Path) -> Iterator[Callable[[str], Victim]]:
    started: list[Victim] = []

    def start(body: str) -> Victim:
        started.append(Victim(body, bundle, tmp_path))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.communicate()
