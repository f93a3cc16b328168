from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from device_runtime.kernels.interpreter import KernelError
from device_runtime.stylizers.onnx_stylizer import OnnxStylizer
from device_runtime.stylizers.tflite_stylizer import TFLiteStylizer, has_tflite
from mvstylizer.bundle import BundleError, default_bundle, load_bundle
from mvstylizer_cli.stylizers import LocalModelError, local_stylizer

LITE = default_bundle("lite")
STYLE = data.coffee()
FRAME = np.ascontiguousarray(cv2.resize(data.astronaut(), (160, 96)))
# Height and width: the network's own, larger, portrait, odd, a strip, tiny.
SIZES = ((144, 256), (540, 960), (320, 180), (97, 131), (20, 600), (9, 16))

IN_PROCESS = """
import sys
import numpy as np
from mvstylizer.bundle import default_bundle, load_bundle
from mvstylizer_cli.stylizers import local_stylizer
rng = np.random.default_rng(0)
stylizer = local_stylizer(load_bundle(default_bundle("lite")))
code = stylizer.encode_style(rng.integers(0, 256, (48, 64, 3), np.uint8))
reply = stylizer.stylize(rng.integers(0, 256, (64, 96, 3), np.uint8), code, reply="both")
stylizer.close()
print(type(stylizer).__name__, reply.image.shape, reply.grid.ndim)
print(*sys.modules)
"""


@pytest.fixture(scope="module")
def stylizer() -> Iterator[TFLiteStylizer]:
    with TFLiteStylizer(load_bundle(LITE), threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def code(stylizer: TFLiteStylizer) -> np.ndarray:
    return stylizer.encode_style(STYLE)


def test_it_computes_what_the_onnx_files_compute_at_every_size(
    stylizer: TFLiteStylizer, code: np.ndarray
) -> None:
    with OnnxStylizer(load_bundle(LITE), threads=1) as reference:
        expected_code = reference.encode_style(STYLE)
        np.testing.assert_allclose(code, expected_code, atol=2e-3 * np.abs(expected_code).max())
        for height, width in SIZES:
            frame = cv2.resize(data.astronaut(), (width, height), interpolation=cv2.INTER_AREA)
            found = stylizer.stylize(frame, code, reply="both")
            expected = reference.stylize(frame, expected_code, reply="both")
            assert found.image is not None
            assert expected.image is not None
            assert np.abs(found.image.astype(int) - expected.image).max() <= 2, (height, width)
            # Entries of dark or empty cells may differ more, where a gain changes little.
            assert np.abs(found.grid - expected.grid).mean() < 2e-3


def test_a_reply_holds_what_was_asked_for(stylizer: TFLiteStylizer, code: np.ndarray) -> None:
    image, grid = (stylizer.stylize(FRAME, code, reply=reply) for reply in ("image", "map"))
    both = stylizer.stylize(FRAME, code, reply="both")
    assert image.grid is None
    assert grid.image is None
    assert image.image is not None
    assert grid.grid is not None
    assert (image.image.dtype, image.image.shape) == (np.uint8, FRAME.shape)
    assert (grid.grid.dtype, grid.grid.shape[3:]) == (np.float32, (3, 4))
    np.testing.assert_array_equal(both.image, image.image)
    np.testing.assert_array_equal(both.grid, grid.grid)


def test_a_reply_stays_when_the_next_one_is_made(stylizer: TFLiteStylizer, code: np.ndarray) -> None:
    first = stylizer.stylize(FRAME, code, reply="both")
    assert first.grid is not None
    kept = first.grid.copy()
    stylizer.stylize(255 - FRAME, code, reply="both")
    np.testing.assert_array_equal(first.grid, kept)


def test_upscaling(stylizer: TFLiteStylizer, code: np.ndarray) -> None:
    image = stylizer.stylize(FRAME, code, r=1.5).image
    assert image is not None
    assert image.shape == (144, 240, 3)
    with pytest.raises(KernelError, match="must be above 0"):
        stylizer.stylize(FRAME, code, r=0)


def test_input_rejected_by_the_model_is_reported_in_one_line(
    stylizer: TFLiteStylizer, code: np.ndarray
) -> None:
    with pytest.raises(KernelError, match=r"Style code is float32 \(3,\), not float32 \(257,\)") as caught:
        stylizer.stylize(FRAME, code[:3])
    assert "\n" not in str(caught.value)
    with pytest.raises(KernelError, match="Frame is float32"):
        stylizer.stylize(FRAME.astype(np.float32), code)  # type: ignore[arg-type]
    with pytest.raises(KernelError, match="Style is uint8"):
        stylizer.encode_style(STYLE[0])


@pytest.mark.parametrize("name", ["style_encoder.tflite", "look.tflite", "transfer.tflite"])
def test_a_damaged_file_is_refused(tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(LITE, tmp_path / "bundle")
    bundle = load_bundle(folder)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    for refused in (lambda: TFLiteStylizer(bundle), lambda: load_bundle(folder)):
        with pytest.raises(BundleError, match=f"{name} is not the file"):
            refused()


def test_a_bundle_of_the_other_variant_has_none() -> None:
    bundle = load_bundle(default_bundle())
    assert not has_tflite(bundle)
    assert has_tflite(load_bundle(LITE))
    with pytest.raises(BundleError, match="has no style_encoder_tflite"):
        TFLiteStylizer(bundle)


def test_a_local_model_is_tflite_if_the_bundle_has_it() -> None:
    for folder, kind in ((LITE, TFLiteStylizer), (default_bundle(), OnnxStylizer)):
        stylizer = local_stylizer(load_bundle(folder))
        assert isinstance(stylizer, kind)
        stylizer.close()


def test_an_onnx_model_without_its_runtime_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mvstylizer_cli.stylizers.find_spec", lambda name: None)
    with pytest.raises(LocalModelError, match=r"needs onnxruntime.*use the lite bundle"):
        local_stylizer(load_bundle(default_bundle()))


def test_the_lite_model_needs_no_runtime_but_litert() -> None:
    done = subprocess.run([sys.executable, "-c", IN_PROCESS], capture_output=True, text=True, check=True)
    said, modules = done.stdout.splitlines()[-2:]
    assert said == "TFLiteStylizer (64, 96, 3) 5"
    assert "ai_edge_litert" in modules.split()
    assert not set(modules.split()) & {"torch", "tensorflow", "onnx", "onnxruntime"}
