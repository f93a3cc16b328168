"""Every route returns the same result as the model in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks.data import footage
from benchmarks.data.models import shipped
from benchmarks.edge_load import routes
from benchmarks.edge_load.load import Load
from benchmarks.metrics.memory_usage import memory_mib
from benchmarks.serving import ServingSetup, load_row
from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
from edge_triton.triton.server import TritonServer

SIZE = (96, 64)


@pytest.fixture(scope="module")
def edge() -> Iterator[ServingSetup]:
    model = shipped()[0]
    with (
        OnnxStylizer(model, threads=1) as here,
        TritonServer(model.path, threads=1, start_timeout_s=180) as triton,
        routes.serving(model.path, 2) as (address, tokens, pid),
    ):
        sample = routes.SampleRequest(model, footage.photo(*SIZE), here.encode_style(footage.style()))
        yield ServingSetup(triton, address, tokens, psutil.Process(pid), sample)


@pytest.mark.server
def test_all_routes_return_the_same_picture(edge: ServingSetup) -> None:
    with OnnxStylizer(shipped()[0], threads=1) as here:
        wanted = here.stylize(edge.sample.frame, edge.sample.code, reply="both")
    assert wanted.image is not None
    assert wanted.grid is not None
    for name, connect in edge.ways().items():
        with connect(1) as request:
            found = request()
        image = found if isinstance(found, np.ndarray) else getattr(found, "image", None)
        if image is None:
            # The frame was compressed as JPEG.
            assert np.abs(found.grid - wanted.grid).mean() < 0.1, name
        else:
            difference = np.abs(image.astype(int) - wanted.image)
            assert difference.mean() < (10 if "JPEG" in name else 0.1), name


@pytest.mark.server
def test_memory_includes_gateway_triton_and_stubs(edge: ServingSetup) -> None:
    assert 100 < memory_mib(edge.process) < 4000


@pytest.mark.server
def test_an_edge_that_does_not_start_is_reported(tmp_path: Path) -> None:
    with pytest.raises(routes.ServeError, match="bundle"), routes.serving(tmp_path, 1):
        pass


def test_a_load_without_replies_has_no_quantiles() -> None:
    load = Load(wall=2.0)
    load.errors["EdgeRefusedError"] = 3
    row = load_row({"loop": "closed"}, load)
    assert row.figures["errors"] == 3
    assert row.figures["throughput"] == 0
    assert row.figures["p95"] is None
