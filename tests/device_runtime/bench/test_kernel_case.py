from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given, settings
from hypothesis import strategies as st

from device_runtime.bench.benchmark_model import DELEGATES
from device_runtime.bench.kernel_case import make_case, role_of
from device_runtime.bench.parity import compare
from device_runtime.bench.plan import GRAPHS, KERNELS, RESOLUTIONS, Config, plan
from device_runtime.kernels.interpreter import KernelInterpreter
from mvstylizer.bundle import Bundle, BundleError, default_bundle, load_bundle


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(default_bundle("lite"))


@pytest.mark.parametrize("kernel", ["warp", "transfer"])
@pytest.mark.parametrize(("width", "height"), RESOLUTIONS)
def test_outputs_follow_from_the_inputs(bundle: Bundle, kernel: str, width: int, height: int) -> None:
    """A second interpreter, independent of the caller, computes the same output from the same bytes."""
    case = make_case(bundle, kernel, width, height)
    interpreter = KernelInterpreter(bundle.file(kernel))
    interpreter.resize({name: array.shape for name, array in case.inputs.items()})
    for name, array in case.inputs.items():
        interpreter.put(name, array)
    interpreter.invoke()
    ((name, expected),) = case.outputs.items()
    np.testing.assert_array_equal(interpreter.get(name), expected)
    assert len(np.unique(expected)) > 50
    assert case.calls_per_frame * expected.size >= width * height * 3
    assert (case.calls_per_frame - 1) * expected.size < 1.4 * width * height * 3


def test_the_flow_has_both_signs_and_points_outside_the_frame(bundle: Bundle) -> None:
    inputs = make_case(bundle, "warp", 512, 256).inputs
    for axis in ("flow_x", "flow_y"):
        assert inputs[axis].min() < -5
        assert inputs[axis].max() > 5
    assert (inputs["flow_x"] < inputs["left"]).any()
    assert (inputs["flow_x"] > inputs["right"]).any()
    assert (inputs["flow_y"] > inputs["down"]).any()


def test_key_frame_has_one_size(bundle: Bundle) -> None:
    case = make_case(bundle, "key_frame", 160, 90)
    assert case.calls_per_frame == 1
    assert 0 < case.outputs["score"][0] < 1


def test_kernels_for_accelerators_compute_what_those_for_a_cpu_do(bundle: Bundle) -> None:
    """The warp for a CPU rounds to bytes; the formula of the GPU's operator has no kernel here."""
    accel, gpu = (make_case(bundle, kernel, 512, 256) for kernel in ("warp_accel", "warp_gpu"))
    np.testing.assert_allclose(accel.outputs["warped"][..., :3], gpu.outputs["warped"], atol=1e-2)
    warp = make_case(bundle, "warp", 512, 256)
    pixels = warp.outputs["warped"].shape[1]
    last = gpu.outputs["warped"].reshape(-1, 3)[-pixels:].T
    assert np.abs(np.rint(last) - warp.outputs["warped"]).max() <= 1
    assert make_case(bundle, "transfer_accel", 512, 256).outputs["styled"].std() > 20


def test_the_network_gets_a_thumbnail_and_a_style(bundle: Bundle) -> None:
    look = make_case(bundle, "look", 96, 96)
    assert look.role == "look_tflite"
    assert look.inputs["style_code"].std() > 0
    assert look.outputs["lut"].shape == (1, 17, 17, 17, 3)


def test_a_size_that_the_bundle_lacks(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="warp_accel_640x360"):
        make_case(bundle, "warp_accel", 640, 360)


def test_the_manifest_lists_tensors_in_the_interpreters_order(bundle: Bundle) -> None:
    """benchmark_model takes shapes, and writes outputs, in the interpreter's order."""
    for config in plan(KERNELS, RESOLUTIONS[:1], ("cpu", "npu"), (1,)):  # the GPU's operator loads nowhere
        role = role_of(*config[:3])
        spec, interpreter = bundle.spec(role), Interpreter(str(Path(bundle.file(role))))
        assert [t.name for t in spec.inputs] == [d["name"] for d in interpreter.get_input_details()]
        assert [t.name for t in spec.outputs] == [d["name"] for d in interpreter.get_output_details()]


def test_parity_of_gray_levels() -> None:
    expected = {"styled": np.arange(100, dtype=np.uint8)}
    off = expected["styled"].copy()
    off[3] += 1
    off[4] += 2
    found = compare(expected, off.tobytes(), "gpu")
    assert (found.passed, found.largest, found.differing) == (True, 2, 0.02)
    assert not compare(expected, off.tobytes(), "cpu").passed
    short = compare(expected, off.tobytes()[:-1], "gpu")
    assert (short.passed, short.largest) == (False, None)


def test_parity_of_numbers_and_decisions() -> None:
    expected = {"is_key": np.array([1], np.int32), "score": np.array([0.5], np.float32)}

    def check(decision: int, score: float, delegate: str) -> bool:
        content = np.array([decision], np.int32).tobytes() + np.array([score], np.float32).tobytes()
        return compare(expected, content, delegate).passed

    assert check(1, 0.505, "npu")
    assert not check(1, 0.505, "xnnpack")
    assert not check(0, 0.5, "npu")
    assert not check(1, float("nan"), "npu")


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=12, max_size=12), st.sampled_from(["cpu", "gpu"]))
def test_parity_takes_any_bytes(content: bytes, delegate: str) -> None:
    expected = {"a": np.zeros(2, np.float32), "b": np.zeros(4, np.uint8)}
    found = compare(expected, content, delegate)
    assert 0 <= found.differing <= 1
    assert not (found.passed and found.largest is None)


def test_the_plan_has_every_combination_once() -> None:
    configs = list(plan(("warp", "key_frame"), RESOLUTIONS, ("cpu", "xnnpack", "gpu"), (1, 4)))
    assert len(configs) == len(set(configs)) == 4 * (2 + 2 + 1 + 1) + (2 + 2 + 1)
    assert {config[:3] for config in configs if config.kernel == "key_frame"} == {("key_frame", 160, 90)}
    assert {config.threads for config in configs if config.delegate == "gpu"} == {1}
    assert Config("warp", 1920, 1080, "xnnpack", 4) in configs
    assert str(configs[1]) == "warp 512x256 cpu, 4 threads"


def test_each_delegate_gets_the_kernels_made_for_it() -> None:
    configs = list(plan(KERNELS, RESOLUTIONS[:1], DELEGATES, (1,)))
    by_delegate = {
        delegate: {config.kernel for config in configs if config.delegate == delegate}
        for delegate in DELEGATES
    }
    every = {"key_frame", "style_encoder", "look"}
    assert by_delegate["cpu"] == by_delegate["xnnpack"] == every | {"warp", "transfer"}
    assert by_delegate["npu"] == every | {"warp_accel", "transfer_accel"}
    assert by_delegate["gpu"] == by_delegate["npu"] | {"warp_gpu"}
    assert {config.kernel for config in configs} == set(GRAPHS)
