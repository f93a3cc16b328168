"""Nothing is left of a server, however its program ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from edge_triton.triton import reaper
from edge_triton.triton.server import TritonServer
from mvstylizer.bundle import Bundle

pytestmark = pytest.mark.server


HOLD = """
with TritonServer(bundle) as server:
    print(server.address, flush=True)
    time.sleep(600)
"""


EXIT_ON_TERM = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))" + HOLD


NEVER_STOPPED = HOLD.replace(
    "with TritonServer(bundle) as server:", "if server := TritonServer(bundle):\n    server.start()"
)


FORKED = HOLD.replace(
    "    time.sleep(600)", "    if os.fork() == 0: time.sleep(3); os._exit(0)\n    time.sleep(600)"
)


SERVE = "serve(bundle, EdgeOptions(port=0), on_ready=lambda edge: print(edge.address, flush=True))"


CTRL_C = """
with TritonServer(bundle) as server, EdgeClient(server.address) as client:
    try:
        print(server.address, flush=True)
        time.sleep(600)
    except KeyboardInterrupt:
        print(client.encode_style(np.zeros((8, 8, 3), np.uint8)).shape, flush=True)
"""


@pytest.mark.parametrize(
    ("body", "number", "status"),
    [
        pytest.param(HOLD, signal.SIGKILL, -9, id="killed"),
        pytest.param(HOLD, signal.SIGTERM, -15, id="terminated"),
        pytest.param(EXIT_ON_TERM, signal.SIGTERM, 1, id="terminated-by-exception"),
        pytest.param(NEVER_STOPPED, signal.SIGINT, -2, id="never-stopped"),
        pytest.param(FORKED, signal.SIGKILL, -9, id="killed-after-fork"),
        pytest.param(SERVE, signal.SIGTERM, 0, id="serve-terminated"),
        pytest.param(SERVE, signal.SIGINT, 0, id="serve-interrupted"),
        pytest.param(SERVE, signal.SIGKILL, -9, id="serve-killed"),
    ],
)
def test_nothing_is_left_when_the_program_ends(
    victim: Callable[[str], Any], body: str, number: int, status: int
) -> None:
    program = victim(body)
    assert len(program.regions) == 2
    assert program.end(number) == status
    assert program.traces() == []


def test_a_program_that_dies_with_its_reaper_leaves_nothing_for_long(victim: Callable[[str], Any]) -> None:
    program = victim(HOLD)
    (keeper,) = [process for process in program.family if reaper.__file__ in process.cmdline()]
    keeper.kill()
    program.process.kill()
    _, alive = psutil.wait_procs(program.family, timeout=60)
    assert alive == []
    assert all(region.exists() for region in program.regions)
    again = victim(HOLD)  # the next server
    assert not any(region.exists() for region in program.regions)
    assert again.end(signal.SIGTERM) == -15
    assert again.traces() == []


def test_ctrl_c_reaches_the_program_but_not_the_server(victim: Callable[[str], Any]) -> None:
    program = victim(CTRL_C)
    os.killpg(program.process.pid, signal.SIGINT)  # as a terminal does
    assert program.read_line() == "(3,)"
    assert program.process.wait(timeout=300) == 0
    assert program.traces() == []


def test_nothing_is_left_after_an_exception(bundle: Bundle) -> None:
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(ZeroDivisionError), TritonServer(bundle.path):
        raise ZeroDivisionError
    assert set(psutil.Process().children(recursive=True)) <= before
