"""NVIDIA's client against `mvstylizer serve`, each in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from device_runtime.media.photo import read_photo
from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
from edge_triton.client.jpeg import decode_jpeg
from mvstylizer.bundle import default_bundle, load_bundle

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.server, pytest.mark.slow]


@pytest.fixture
def served() -> Iterator[str]:
    """The address of a running `mvstylizer serve`."""
    command = [sys.executable, "-m", "mvstylizer_cli", "serve", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            found = re.search(r"Serving on (\S+),", process.stderr.readline())
            assert found
            yield found[1]
        finally:
            process.terminate()
            process.communicate()


def test_unmodified_tritonclient_stylizes_a_photo(served: str, dusk: Path, tmp_path: Path) -> None:
    photo, out = tmp_path / "photo.jpg", tmp_path / "stylized.jpg"
    smooth = cv2.GaussianBlur(cv2.imread(str(dusk)), (0, 0), 2)[::-2, ::2]
    cv2.imwrite(str(photo), smooth, [cv2.IMWRITE_JPEG_QUALITY, 95])
    command = [sys.executable, "examples/triton_client.py", served, *map(str, (photo, dusk, out))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    bundle = load_bundle(default_bundle())
    assert f"version {bundle.version}" in done.stdout
    with OnnxStylizer(bundle) as here:
        expected = here.stylize(read_photo(photo), here.encode_style(read_photo(dusk))).image
    assert expected is not None
    stylized = decode_jpeg(out.read_bytes(), 1 << 24)
    assert stylized.shape == expected.shape
    assert np.abs(stylized.astype(int) - expected).mean() < 2  # what JPEG loses


def test_the_example_imports_nothing_of_the_kit() -> None:
    text = (ROOT / "examples" / "triton_client.py").read_text()
    imports = re.findall(r"^(?:from|import) (\w+)", text, re.MULTILINE)
    assert set(imports) == {"__future__", "sys", "pathlib", "numpy", "tritonclient"}
