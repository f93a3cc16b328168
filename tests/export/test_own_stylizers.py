"""Stylizers that are not the kit's own: exported, served by the bundled Triton, and run on a clip."""

from __future__ import annotations

import json
from pathlib import Path

import av
import cv2
import jsonschema
import numpy as np
import onnx
import pytest

from device_runtime.options import Interpolation, StylizeOptions
from device_runtime.pipeline import stylize_video
from device_runtime.stylizers.style_mix import MatchError, check_match
from edge_triton.client.client import EdgeClient
from edge_triton.triton.server import TritonServer
from export.exporter import export_bundle
from export.parity.test_images import parity_picture
from export.precision_judge import PrecisionError
from export.quantization import Quantization
from export.verify import check_bundle
from mvstylizer import bundle as manifest
from mvstylizer.bundle import MANIFEST_NAME, load_bundle
from training.look.checkpoint import LOOK_WEIGHTS

TARGETS = {
    "examples.adain:build": "image",
    "examples.neural_preset:build": "lut",
    "examples.local_affine:build": "affine",
    "export.template.model:build": "lut",
    "training.checkpoint:build": "grid",
}

pytestmark = [pytest.mark.long, pytest.mark.server]


@pytest.mark.parametrize("target", TARGETS)
def test_a_stylizer_is_exported_served_and_run(
    target: str, street: Path, dusk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])  # where `examples` is
    weights = LOOK_WEIGHTS if target.startswith("training") else None
    export_bundle(target, tmp_path / "bundle", weights=weights, sizes=[])
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.kind == TARGETS[target]
    assert json.loads((bundle.path / MANIFEST_NAME).read_text())["source"]["module"] == target
    assert all(row.note == "" for row in check_bundle(bundle.path))
    if not bundle.has_match:
        with pytest.raises(MatchError, match="no look and palette"):
            check_match(0.0, bundle)
    with TritonServer(bundle.path) as server, EdgeClient(server.address) as edge:
        found = [_stylized(each, street, dusk, tmp_path, edge) for each in ("warp", "transfer")]
    original = _frames(street)
    for frames in found:
        assert frames.shape == original.shape
        assert np.abs(frames - original).mean() > 2  # it did something
    assert np.abs(found[0] - found[1]).mean() < 6  # and both interpolations agree on what


def test_a_stylizer_is_exported_in_eight_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    (tmp_path / "photos").mkdir()
    for seed in range(6):
        cv2.imwrite(str(tmp_path / "photos" / f"{seed}.png"), parity_picture(180, 240, seed))
    wanted = Quantization(tmp_path / "photos", min_psnr=30)
    out = tmp_path / "bundle"
    bundle = export_bundle("examples.neural_preset:build", out, quantization=wanted, sizes=[])
    assert bundle.network["precision"] == "int8"
    rows = {row["precision"]: row for row in bundle.network["precisions"]}
    assert rows["int8"]["psnr"] >= 30
    assert rows["fp16"]["max"] == 0  # the reference has the rounded weights
    schema = json.loads(Path(manifest.__file__).with_name("model.schema.json").read_text())
    jsonschema.validate(json.loads((out / MANIFEST_NAME).read_text()), schema)
    for role in ("stylizer", "stylizer_map"):
        kinds = {node.op_type for node in onnx.load(bundle.file(role)).graph.node}
        assert "QuantizeLinear" in kinds
    assert "## Precisions of the stylizer" in bundle.file("card").read_text()
    assert check_bundle(out)
    with pytest.raises(PrecisionError, match="int8 reaches"):
        export_bundle(
            "examples.neural_preset:build",
            tmp_path / "refused",
            quantization=Quantization(tmp_path / "photos", min_psnr=120),
            sizes=[],
        )
    assert not (tmp_path / "refused").exists()


def _stylized(
    interpolation: Interpolation, clip: Path, style: Path, folder: Path, edge: EdgeClient
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    out = folder / f"{interpolation}.mp4"
    bundle = load_bundle(folder / "bundle")
    options = StylizeOptions("every:12", interpolation=interpolation)
    report = stylize_video(clip, style, out, options=options, stylizer=edge, bundle=bundle)
    assert report.key_frames == 4  # and the cut at 30
    return _frames(out)


def _frames(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    with av.open(str(path)) as video:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]).astype(
            np.float32
        )
