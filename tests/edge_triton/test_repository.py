"""The generated repository, read back with the protobuf that Triton's own client carries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2

from edge_triton import python_backend
from edge_triton.repository import (
    ModelSpec,
    bundle_models,
    config_text,
    repository_models,
    write_model,
    write_repository,
)
from export.manifest import Bundle, BundleError, TensorSpec

WIRE_TYPES = {"uint8": "TYPE_UINT8", "int32": "TYPE_INT32", "float32": "TYPE_FP32"}
NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
TENSORS = st.builds(
    TensorSpec,
    NAMES,
    st.sampled_from(sorted(WIRE_TYPES)),
    st.lists(st.integers(1, 4096) | st.just(-1), min_size=1, max_size=4).map(tuple),
)


def parse(text: str) -> model_config_pb2.ModelConfig:
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def rows(side: object) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(t.name, model_config_pb2.DataType.Name(t.data_type), tuple(t.dims)) for t in side]


@given(
    name=NAMES,
    inputs=st.lists(TENSORS, min_size=1, max_size=3).map(tuple),
    outputs=st.lists(TENSORS, min_size=1, max_size=3).map(tuple),
    version=st.integers(1, 2**31),
    backend=st.sampled_from(["python", "onnxruntime"]),
    instances=st.integers(1, 64),
    threads=st.integers(0, 256),
)
def test_config_says_what_the_spec_says(
    name: str,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    version: int,
    backend: str,
    instances: int,
    threads: int,
) -> None:
    spec = ModelSpec(name, Path("x.onnx"), inputs, outputs, version, backend, instances, threads)
    config = parse(config_text(spec))
    assert (config.name, config.backend, config.max_batch_size) == (name, backend, 0)
    assert list(config.version_policy.specific.versions) == [version]
    assert rows(config.input) == [(t.name, WIRE_TYPES[t.dtype], t.shape) for t in inputs]
    assert rows(config.output) == [(t.name, WIRE_TYPES[t.dtype], t.shape) for t in outputs]
    assert [group.count for group in config.instance_group] == [instances]
    assert config.parameters["intra_op_thread_count"].string_value == str(threads)


def test_backends_share_everything_but_who_runs_the_model(bundle: Bundle) -> None:
    for python, native in zip(
        bundle_models(bundle), bundle_models(bundle, backend="onnxruntime"), strict=True
    ):
        ours, theirs = parse(config_text(python)), parse(config_text(native))
        assert (ours.default_model_filename, theirs.default_model_filename) == ("model.py", "model.onnx")
        assert ours.input == theirs.input
        assert ours.output == theirs.output
        assert ours.version_policy == theirs.version_policy
        assert "max_pixels" not in theirs.parameters


@pytest.mark.parametrize("backend", ["python", "onnxruntime"])
def test_layout_holds_the_bundles_bytes(bundle: Bundle, tmp_path: Path, backend: str) -> None:
    names = write_repository(tmp_path / "deep" / "repository", bundle, backend=backend, instances=3)
    repository = tmp_path / "deep" / "repository"
    assert names == ("style_encoder", "stylizer") == repository_models(repository)
    for name in names:
        files = {p.name: p.read_bytes() for p in (repository / name / "1").iterdir()}
        assert files.pop("model.onnx") == bundle.file(name).read_bytes()
        source = Path(python_backend.__file__).with_name("model.py").read_bytes()
        assert files == ({"model.py": source} if backend == "python" else {})
        assert sorted(p.name for p in (repository / name).iterdir()) == ["1", "config.pbtxt"]
    counts = {n: parse((repository / n / "config.pbtxt").read_text()).instance_group[0].count for n in names}
    assert counts == {"style_encoder": 1, "stylizer": 3}


def test_writing_again_replaces_the_version_and_keeps_others(bundle: Bundle, tmp_path: Path) -> None:
    first = bundle_models(bundle)[1]
    write_model(tmp_path, first)
    (tmp_path / "stylizer" / "1" / "stale").touch()
    write_model(tmp_path, first)
    assert not (tmp_path / "stylizer" / "1" / "stale").exists()
    second = ModelSpec("stylizer", first.onnx, first.inputs, first.outputs, version=2)
    write_model(tmp_path, second)
    assert (tmp_path / "stylizer" / "1" / "model.onnx").is_file()
    config = parse((tmp_path / "stylizer" / "config.pbtxt").read_text())
    assert list(config.version_policy.specific.versions) == [2]


def test_changed_model_file_is_refused(tmp_path: Path, new_bundle: Bundle) -> None:
    path = new_bundle.path / "stylizer.onnx"
    data = np.frombuffer(path.read_bytes(), np.uint8).copy()
    data[len(data) // 2] ^= 1
    path.write_bytes(data.tobytes())
    with pytest.raises(BundleError, match=r"stylizer\.onnx"):
        write_repository(tmp_path / "repository", new_bundle)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": '" backend: "x'},
        {"name": "../up"},
        {"name": ""},
        {"inputs": (TensorSpec("a b", "uint8", (1,)),)},
        {"version": 0},
        {"instances": 0},
        {"threads": -1},
        {"max_pixels": 0},
    ],
)
def test_values_that_would_break_the_config_are_refused(wrong: dict[str, object]) -> None:
    good = {"name": "m", "onnx": Path("m.onnx"), "inputs": (), "outputs": ()}
    with pytest.raises(ValueError, match=r"name|range"):
        ModelSpec(**{**good, **wrong})
