"""The generated repository, read back with the protobuf of Triton's own client."""

from __future__ import annotations

import queue
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import InferenceServerException

from edge_triton.triton import python_backend
from edge_triton.triton.model_config import config_text
from edge_triton.triton.model_spec import ModelSpec, QueuePolicy, TensorRt
from edge_triton.triton.repository import (
    bundle_models,
    repository_models,
    write_model,
    write_repository,
)
from edge_triton.triton.server import TritonServer
from mvstylizer.bundle import Bundle, BundleError, TensorSpec

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
    max_requests=st.integers(0, 2**31),
    timeout_ms=st.integers(0, 10**6),
)
def test_config_matches_the_spec(
    name: str,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    version: int,
    backend: str,
    instances: int,
    threads: int,
    max_requests: int,
    timeout_ms: int,
) -> None:
    spec = ModelSpec(name, Path("x.onnx"), inputs, outputs, version, backend, instances, threads)
    spec = replace(spec, queue=QueuePolicy(max_requests, timeout_ms / 1000))
    config = parse(config_text(spec))
    assert (config.name, config.backend, config.max_batch_size) == (name, backend, 0)
    assert list(config.version_policy.specific.versions) == [version]
    assert rows(config.input) == [(t.name, WIRE_TYPES[t.dtype], t.shape) for t in inputs]
    assert rows(config.output) == [(t.name, WIRE_TYPES[t.dtype], t.shape) for t in outputs]
    assert [group.count for group in config.instance_group] == [instances]
    assert config.parameters["intra_op_thread_count"].string_value == str(threads)
    policy = config.dynamic_batching.default_queue_policy
    assert policy.timeout_action == model_config_pb2.ModelQueuePolicy.REJECT
    assert (policy.max_queue_size, policy.default_timeout_microseconds) == (max_requests, 1000 * timeout_ms)
    assert not config.model_warmup
    assert not config.HasField("optimization")


def test_backends_share_tensors_and_versions(bundle: Bundle) -> None:
    for python, native in zip(
        bundle_models(bundle), bundle_models(bundle, backend="onnxruntime"), strict=True
    ):
        ours, theirs = parse(config_text(python)), parse(config_text(native))
        assert (ours.default_model_filename, theirs.default_model_filename) == ("model.py", "model.onnx")
        assert ours.input == theirs.input
        assert ours.output == theirs.output
        assert ours.version_policy == theirs.version_policy
        assert "max_pixels" not in theirs.parameters


def test_warm_up_images_have_the_given_sizes(bundle: Bundle, tmp_path: Path) -> None:
    encoder, stylizer = bundle_models(bundle, warm_up=((1080, 1920), (64, 48)))
    config = parse(config_text(stylizer))
    assert [(sample.batch_size, sample.count) for sample in config.model_warmup] == [(1, 1)] * 2
    frames = [tuple(sample.inputs["frame"].dims) for sample in config.model_warmup]
    assert frames == [(1, 1080, 1920, 3), (1, 64, 48, 3)]
    rest = config.model_warmup[0].inputs
    assert tuple(rest["style_code"].dims) == (1, 3)
    assert rest["style_code"].zero_data
    write_model(tmp_path, stylizer)
    factor = (tmp_path / "stylizer" / "warmup" / rest["r"].input_data_file).read_bytes()
    assert np.frombuffer(factor, "<f4") == [1]
    assert tuple(parse(config_text(encoder)).model_warmup[1].inputs["style"].dims) == (1, 64, 48, 3)


def test_tensorrt_has_one_explicit_profile(bundle: Bundle) -> None:
    tensorrt = TensorRt(96, (288, 512), 1920, "FP16", Path("/cache/engines"))
    encoder, stylizer = bundle_models(bundle, backend="onnxruntime", tensorrt=tensorrt)
    optimization = parse(config_text(stylizer)).optimization
    (accelerator,) = optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.name == "tensorrt"
    assert dict(accelerator.parameters) == {
        "precision_mode": "FP16",
        "trt_profile_min_shapes": "frame:1x96x96x3,style_code:1x3,r:1",
        "trt_profile_opt_shapes": "frame:1x288x512x3,style_code:1x3,r:1",
        "trt_profile_max_shapes": "frame:1x1920x1920x3,style_code:1x3,r:1",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": "/cache/engines",
    }
    assert "style:1x288x512x3" in config_text(encoder)
    assert "cache" not in config_text(replace(stylizer, tensorrt=TensorRt()))


@pytest.mark.parametrize(
    "make",
    [
        lambda spec: TensorRt(min_side=0),
        lambda spec: TensorRt(optimal_size=(4000, 100)),
        lambda spec: replace(spec, backend="python", tensorrt=TensorRt()),
        lambda spec: config_text(replace(spec, tensorrt=TensorRt(cache=Path('/"')))),
        lambda spec: config_text(
            replace(spec, inputs=(TensorSpec("x", "float32", (-1,)),), tensorrt=TensorRt())
        ),
    ],
)
def test_invalid_profiles_are_rejected(bundle: Bundle, make: Callable[[ModelSpec], object]) -> None:
    with pytest.raises(ValueError, match=r"range|TensorRT|config|in advance"):
        make(bundle_models(bundle, backend="onnxruntime")[1])


@pytest.mark.server
def test_triton_queue_is_bounded_and_instances_are_warm(
    bundle: Bundle, tmp_path: Path, photo: Callable[[int, int], np.ndarray]
) -> None:
    for spec in bundle_models(bundle, warm_up=((200, 300),)):
        write_model(tmp_path, replace(spec, queue=QueuePolicy(max_requests=2)))
    frame = np.tile(photo(250, 250), (2, 12, 1))
    tensors = []
    for name, kind, value in (
        ("frame", "UINT8", frame[None]),
        ("style_code", "FP32", np.zeros((1, 3), np.float32)),
        ("r", "FP32", np.ones(1, np.float32)),
    ):
        tensors.append(triton.InferInput(name, list(value.shape), kind))
        tensors[-1].set_data_from_numpy(value)
    answers: queue.Queue[InferenceServerException | None] = queue.Queue()
    with TritonServer(tmp_path) as server, triton.InferenceServerClient(server.address) as client:
        for _ in range(16):
            client.async_infer("stylizer", tensors, callback=lambda result, error: answers.put(error))
        refused = [error for error in (answers.get(timeout=120) for _ in range(16)) if error is not None]
        assert 0 < len(refused) < 16
        assert all("Exceeds maximum queue size" in error.message() for error in refused)
        assert client.infer("stylizer", tensors).as_numpy("stylized").shape == frame[None].shape


@pytest.mark.parametrize("backend", ["python", "onnxruntime"])
def test_repository_contains_the_bundles_files(bundle: Bundle, tmp_path: Path, backend: str) -> None:
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


def test_rewriting_replaces_one_version_only(bundle: Bundle, tmp_path: Path) -> None:
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


def test_changed_model_file_is_rejected(tmp_path: Path, new_bundle: Bundle) -> None:
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
def test_values_that_would_break_the_config_are_rejected(wrong: dict[str, object]) -> None:
    good = {"name": "m", "onnx": Path("m.onnx"), "inputs": (), "outputs": ()}
    with pytest.raises(ValueError, match=r"name|range"):
        ModelSpec(**{**good, **wrong})
