"""Eight-bit convolutions and their gate, on a small graph with one layer that eight bits ruin."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper, parser
from typer.testing import CliRunner

from export.model_card import _precisions
from export.onnx_models.file import MIN_HALF_SIZE, save_model, single_precision
from export.parity.test_images import parity_picture
from export.precision_judge import Judge, Photos, PrecisionError
from export.quantization import quantized
from mvstylizer.bundle import Bundle
from mvstylizer_cli.main import app

STYLE_ENCODER = """
    <ir_version: 8, opset_import: ["" : 18]>
    style_encoder (uint8[1,H,W,3] style) => (float[1,3] style_code) {
        unit = Cast <to = 1> (style)
        axes = Constant <value = int64[2] {1, 2}> ()
        style_code = ReduceMean <keepdims = 0> (unit, axes)
    }
"""
STYLIZER = """
    <ir_version: 8, opset_import: ["" : 18]>
    stylizer (uint8[1,H,W,3] frame, float[1,3] style_code, float[1] r)
        => (uint8[1,H,W,3] stylized, float[1,3] grid)
    {
        planar = Transpose <perm = [0, 3, 1, 2]> (frame)
        gray = Cast <to = 1> (planar)
        calm = Conv <pads = [1, 1, 1, 1]> (gray, calm_weight)
        large = Conv <pads = [1, 1, 1, 1]> (calm, large_weight)
        wild = Conv (large, wild_weight)
        mixed = Conv (wild, last_weight)
        zero = Constant <value = float {0.0}> ()
        white = Constant <value = float {255.0}> ()
        near = Round (mixed)
        inside = Clip (near, zero, white)
        bytes = Cast <to = 2> (inside)
        stylized = Transpose <perm = [0, 2, 3, 1]> (bytes)
        grid = Mul (style_code, r)
    }
"""


def _saved(
    text: str, path: Path, weights: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]
) -> Path:
    model = parser.parse_model(text)
    for name, values in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four photos, a style encoder, and a stylizer that returns the frame, through layers of two kinds."""
    made = tmp_path_factory.mktemp("quantization")
    (made / "photos").mkdir()
    for seed in range(4):
        cv2.imwrite(str(made / "photos" / f"{seed}.png"), parity_picture(96, 128, seed))
    calm = np.zeros((32, 3, 3, 3))
    calm[np.arange(32), np.arange(32) % 3, 1, 1] = 1
    large = np.zeros((32, 32, 3, 3))
    large[np.arange(32), np.arange(32), 1, 1] = 1
    large += 1e-4 * np.random.default_rng(0).standard_normal(large.shape)  # so that rounding costs a little
    wild = np.eye(32)[:, :, None, None]
    wild[30] *= 1000  # a range in which the other channels nearly vanish
    last = np.eye(3, 32)[:, :, None, None]
    weights = {"calm_weight": calm, "large_weight": large, "wild_weight": wild, "last_weight": last}
    _saved(STYLE_ENCODER, made / "style_encoder.onnx", {})
    _saved(STYLIZER, made / "stylizer.onnx", weights)
    return made


@pytest.fixture(scope="module")
def content(folder: Path) -> bytes:
    return (folder / "stylizer.onnx").read_bytes()


@pytest.fixture(scope="module")
def photos(folder: Path) -> Photos:
    return Photos(folder / "photos", folder / "style_encoder.onnx")


def test_the_photos_that_judge_do_not_calibrate(photos: Photos) -> None:
    frames = [pair["frame"].tobytes() for pair in (*photos.judges, *photos.calibration)]
    assert len(set(frames)) == 4
    code = photos.judges[0]["style_code"]
    assert not np.allclose(code, photos.judges[0]["frame"].mean((1, 2)))  # another photo's


def test_figures_are_those_of_the_outputs(photos: Photos, content: bytes) -> None:
    model = onnx.load_from_string(content)
    weight = next(each for each in model.graph.initializer if each.name == "last_weight")
    weight.CopyFrom(numpy_helper.from_array(1.1 * numpy_helper.to_array(weight), weight.name))
    row = Judge(content, photos).row("fp32", model.SerializeToString())
    differences = []
    for pair in photos.judges:
        frame = pair["frame"].astype(np.float64)
        differences.append(np.round(np.minimum(1.1 * frame, 255)) - frame)
    everything = np.concatenate([each.ravel() for each in differences])
    assert row.max == pytest.approx(np.abs(everything).max(), abs=1)
    assert row.psnr == pytest.approx(10 * np.log10(255**2 / np.mean(everything**2)), abs=0.1)
    assert row.ms_1 > 0
    assert row.bytes == len(model.SerializeToString())
    assert Judge(content, photos).row("fp32", content).max == 0


def test_a_costly_layer_stays_in_floating_point(photos: Photos, content: bytes) -> None:
    judge = Judge(content, photos)
    made, row = quantized(content, photos, judge, 38.0)
    assert row.psnr >= 38.0
    assert 0 < len(row.float_layers) < 3
    onnx.checker.check_model(made, full_check=True)
    kinds = [node.op_type for node in onnx.load_from_string(made).graph.node]
    assert "QuantizeLinear" in kinds
    assert [(o.domain, o.version) for o in onnx.load_from_string(made).opset_import] == [("", 18)]
    everything, _ = quantized(content, photos, judge, 1.0)
    assert judge.row("int8", everything).psnr < 38.0
    found = onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"]).run(
        ["stylized"], dict(photos.judges[0])
    )[0]
    assert np.abs(found.astype(int) - photos.judges[0]["frame"]).mean() < 4


def test_a_bound_that_cannot_be_met_is_refused_with_figures_and_layers(
    photos: Photos, content: bytes
) -> None:
    with pytest.raises(
        PrecisionError, match=r"int8 reaches .* dB, not 90 .*most costly are Conv_\d+ \("
    ) as caught:
        quantized(content, photos, Judge(content, photos), 90.0)
    assert "--min-psnr" in caught.value.hint


def test_too_few_photos_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PrecisionError, match="is not a folder"):
        Photos(tmp_path / "none", folder / "style_encoder.onnx")
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    with pytest.raises(PrecisionError, match="0 readable photos"):
        Photos(tmp_path, folder / "style_encoder.onnx")


def test_single_precision_undoes_half(folder: Path, tmp_path: Path) -> None:
    half = tmp_path / "stylizer.onnx"
    save_model(onnx.load(folder / "stylizer.onnx"), half, "fp16", {})
    assert half.stat().st_size < 0.6 * (folder / "stylizer.onnx").stat().st_size
    stored = {i.name: i for i in onnx.load_from_string(single_precision(half)).graph.initializer}
    for each in onnx.load(folder / "stylizer.onnx").graph.initializer:
        values = numpy_helper.to_array(each)
        rounded = values.astype(np.float16).astype(np.float32) if values.size >= MIN_HALF_SIZE else values
        assert np.array_equal(numpy_helper.to_array(stored[each.name]), rounded)


def test_the_card_has_the_table(photos: Photos, content: bytes) -> None:
    row = Judge(content, photos).row("int8", content, ["Conv_3"])
    text = "\n".join(_precisions(Bundle(Path(), "x", 1, (), network={"precisions": [row.as_dict()]})))
    assert "| int8 |" in text
    assert "`Conv_3`" in text


@pytest.mark.parametrize("options", [["--precision", "int8"], ["--calibrate", "photos"]])
def test_photos_and_eight_bits_belong_together(options: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["export", "x.safetensors", "--out", str(tmp_path / "out"), *options])
    assert done.exit_code == 2
