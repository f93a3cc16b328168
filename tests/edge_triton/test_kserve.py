"""KServe's own Python client, in its own environment, because it pins packages that the kit does not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_triton.client.client import EdgeClient
from edge_triton.edge import Edge
from tests.edge_triton.running_edge import CODE, GRAY

pytestmark = [pytest.mark.server, pytest.mark.long]
KSERVE = "kserve==0.21.0"
PROGRAM = Path(__file__).with_name("kserve_program.py")


@pytest.fixture(scope="module")
def kserve_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kserve")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    done = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", KSERVE], capture_output=True, text=True, timeout=600
    )
    if done.returncode:
        pytest.skip(f"{KSERVE} cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
    return python


def test_kserves_client_works_as_it_comes(edge: Edge, kserve_python: Path) -> None:
    done = subprocess.run([kserve_python, PROGRAM, edge.address], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout.splitlines()[-1])
    assert (facts["live"], facts["ready"], facts["model_ready"]) == (True, True, True)
    assert facts["id"] == "seven"
    with EdgeClient(edge.address) as client:
        ours = client.stylize(GRAY, CODE, reply="both")
    np.testing.assert_array_equal(np.array(facts["stylized"], np.uint8)[0], ours.image)
    assert facts["grid"] == [1, 1, 1, 2, 12]
