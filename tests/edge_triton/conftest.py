"""Fixtures: tiny bundles, one shared server and edge, and edges of a test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from edge_triton.client.client import EdgeClient
from edge_triton.edge import Edge
from edge_triton.triton.server import TritonServer
from mvstylizer.bundle import Bundle
from tests.edge_triton.pems import Pems, make_pems
from tests.edge_triton.running_edge import RunningEdge, running_edge
from tests.edge_triton.tiny_bundle import make_bundle
from tests.edge_triton.victim import Victim


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
    """The same models as version 7, in a new folder."""
    return make_bundle(tmp_path_factory.mktemp("bundle"), version=7)


@pytest.fixture(scope="session")
def server(bundle: Bundle) -> Iterator[TritonServer]:
    """One running server, shared by the tests."""
    with TritonServer(bundle.path) as running:
        yield running


@pytest.fixture
def client(server: TritonServer) -> Iterator[EdgeClient]:
    with EdgeClient(server.address) as connected:
        yield connected


@pytest.fixture(scope="session")
def descendants() -> Callable[[str], set[psutil.Process]]:
    """Find the running descendants of this process by the start of their names."""

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
    """Start a new edge: `with start_edge(bundle, **options) as running`."""
    return running_edge


@pytest.fixture(scope="session")
def edge(bundle: Bundle) -> Iterator[Edge]:
    """One edge, shared by the tests."""
    with running_edge(bundle) as running:
        yield running.edge


@pytest.fixture
def phone(edge: Edge) -> Iterator[EdgeClient]:
    with EdgeClient(edge.address) as connected:
        yield connected


@pytest.fixture(scope="session")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Pems:
    """A certificate authority, a server on loopback and a client."""
    return make_pems(tmp_path_factory.mktemp("pems"))


@pytest.fixture
def photo() -> Callable[[int, int], np.ndarray]:
    """Make an image of a given height and width: smooth color plus noise."""

    def make(height: int, width: int) -> np.ndarray:
        y, x = np.mgrid[0:height, 0:width]
        ramp = np.stack([x * 255 / width, y * 255 / height, 255 - x * 255 / width], axis=-1)
        noise = np.random.default_rng(height * width).normal(0, 8, ramp.shape)
        return np.clip(ramp + noise, 0, 255).astype(np.uint8)

    return make


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
