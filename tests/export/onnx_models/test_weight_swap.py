"""Graphs of one checkpoint with the weights of another, and graphs that cannot be reused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from export.errors import GraphError
from export.onnx_models.weight_swap import BaseBundle, check_complete, refill, weights_of
from export.parity.onnx import check_stylizer
from export.parity.reference import Reference
from mvstylizer.bundle import Bundle, load_bundle
from tests.lite_release import STEP, changed_lite, lite_release, shipped_lite
from training.checkpoint import load_checkpoint, save_checkpoint
from training.stylizer import StylizerNetwork


@pytest.fixture(scope="module")
def base_bundle() -> BaseBundle:
    return shipped_lite()


@pytest.fixture(scope="module")
def trained() -> StylizerNetwork:
    return changed_lite()


def graph(bundle: Bundle, role: str) -> onnx.GraphProto:
    return onnx.load(bundle.file(role)).graph


@pytest.mark.long
@pytest.mark.slow
def test_a_release_keeps_the_graphs_and_takes_the_weights(
    base_bundle: BaseBundle, trained: StylizerNetwork, tmp_path_factory: pytest.TempPathFactory
) -> None:
    release = lite_release(tmp_path_factory)
    made = load_bundle(release.bundle)
    assert not [line for line in release.report if "Tracing" in line]
    assert made.source["step"] == STEP
    assert check_stylizer(made.file("stylizer"), Reference(trained))["max"] <= 1
    for role in ("style_encoder", "stylizer", "stylizer_map"):
        before, after = graph(base_bundle.bundle, role), graph(made, role)
        assert list(after.node) == list(before.node)
        assert [i.name for i in after.initializer] == [i.name for i in before.initializer]
        assert list(after.initializer) != list(before.initializer)
        properties = {entry.key: entry.value for entry in onnx.load(made.file(role)).metadata_props}
        assert properties["mvstylizer.source.sha256"] == made.source["sha256"]
    for role in ("warp", "transfer", "key_frame"):
        assert made.spec(role) == base_bundle.bundle.spec(role)


def test_the_same_weights_give_the_same_initializers(base_bundle: BaseBundle, tmp_path: Path) -> None:
    weights, found = base_bundle.graphs().weights, set()
    for role in ("style_encoder", "stylizer"):
        source, path = base_bundle.bundle.file(role), tmp_path / f"{role}.onnx"
        found |= refill(source.read_bytes(), path, weights, weights, {})
        assert list(onnx.load(path).graph.initializer) == list(onnx.load(source).graph.initializer)
    check_complete(found, weights)


def test_a_file_of_another_checkpoint_is_refused(
    base_bundle: BaseBundle, trained: StylizerNetwork, tmp_path: Path
) -> None:
    moved = weights_of(trained)
    with pytest.raises(GraphError, match="differs from the checkpoint"):
        refill(base_bundle.bundle.file("stylizer").read_bytes(), tmp_path / "out.onnx", moved, moved, {})
    assert not list(tmp_path.iterdir())


def test_a_folded_weight_is_named(base_bundle: BaseBundle, tmp_path: Path) -> None:
    model = onnx.load(base_bundle.bundle.file("stylizer"))
    name = next(i.name for i in model.graph.initializer if "network.middle.bias" in i.name)
    for initializer in model.graph.initializer:
        if initializer.name == name:
            values = onnx.numpy_helper.to_array(initializer)
            initializer.CopyFrom(onnx.numpy_helper.from_array(values + values.dtype.type(0.25), "folded"))
    for node in model.graph.node:
        node.input[:] = ["folded" if each == name else each for each in node.input]
    onnx.save(model, tmp_path / "folded.onnx")
    weights = base_bundle.graphs().weights
    found = refill((tmp_path / "folded.onnx").read_bytes(), tmp_path / "out.onnx", weights, weights, {})
    with pytest.raises(GraphError, match=r"do not contain .*network\.middle\.bias"):
        check_complete(found, weights)


def test_a_base_bundle_fits_only_its_own_architecture(base_bundle: BaseBundle, tmp_path: Path) -> None:
    stylizer, _ = load_checkpoint(base_bundle.checkpoint)
    assert base_bundle.fits(stylizer, "fp16")
    assert not base_bundle.fits(stylizer, "fp32")
    stylizer.dims = replace(stylizer.dims, ridge=0.5)
    assert not base_bundle.fits(stylizer, "fp16")
    stylizer, _ = load_checkpoint(base_bundle.checkpoint)
    other = tmp_path / "other.safetensors"
    save_checkpoint(other, stylizer, 1, {})
    assert not BaseBundle(base_bundle.bundle, other).fits(stylizer, "fp16")
