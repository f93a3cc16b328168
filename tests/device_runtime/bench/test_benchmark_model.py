"""Parse real logs of the tool, published by LiteRT users."""

from __future__ import annotations

import shlex

import pytest

from device_runtime.bench import benchmark_log
from device_runtime.bench import benchmark_model as tool

GPU = """\
INFO: STARTING!
INFO: Use gpu: [1]
INFO: Created TensorFlow Lite delegate for GPU.
VERBOSE: Replacing 58 out of 58 node(s) with delegate (TfLiteGpuDelegateV2) node, yielding 1 partitions for the whole graph.
INFO: Explicitly applied GPU delegate, and the model graph will be completely executed by the delegate.
INFO: Initialized session in 1361.24ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
INFO: count=5 first=125113 curr=112537 min=111758 max=125113 avg=115344 std=4959 p5=111758 median=112912 p95=125113

INFO: Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
INFO: count=50 first=119614 curr=115889 min=111842 max=119614 avg=115246 std=1329 p5=112107 median=115350 p95=116620

INFO: Inference timings in us: Init: 1361236, First inference: 125113, Warmup (avg): 115344, Inference (avg): 115246
INFO: Memory footprint delta from the start of the tool (MB): init=14.4414 overall=14.8164
INFO: Overall peak memory footprint (MB) via periodic monitoring: 74.6641
"""  # noqa: E501
OLD = """\
Explicitly applied NNAPI delegate, and the model graph will be partially executed by the delegate w/ 3 delegate kernels.
count=1 curr=11403859

count=260 first=3918 curr=3711 min=3700 max=4026 avg=3756.87 std=35

Inference timings in us: Init: 13386, First inference: 11403859, Warmup (avg): 1.14039e+07, Inference (avg): 3756.87
"""  # noqa: E501
LITERT = """\
INFO: [benchmark_litert_model.cc:120] Loading model from: /data/local/tmp/m.tflite
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
INFO: count=5 first=125113 curr=112537 min=111758 max=125113 avg=115344 std=4959 p5=111758 median=112912 p95=125113

INFO: count=50 first=119614 curr=115889 min=111842 max=119614 avg=115246 std=1329 p5=112107 median=115350 p95=116620

INFO: [benchmark_litert_model.h:77]
========== BENCHMARK RESULTS ==========
INFO: [benchmark_litert_model.h:78] Model initialization: 1361.24 ms
INFO: [benchmark_litert_model.h:79] Warmup (first):       125.11 ms
INFO: [benchmark_litert_model.h:81] Warmup (avg):         115.34 ms (5 runs)
INFO: [benchmark_litert_model.h:83] Inference (avg):      115.25 ms (50 runs)
INFO: [benchmark_litert_model.h:87] Inference (min):      111.84 ms
INFO: [benchmark_litert_model.h:105]
Memory Usage:
INFO: [benchmark_litert_model.h:106] Init footprint:       14.44 MB
INFO: [benchmark_litert_model.h:108] Overall footprint:    14.82 MB
INFO: [benchmark_litert_model.h:113] Peak memory:          74.66 MB
"""  # noqa: E501
PROFILE = """\
Profiling Info for Benchmark Initialization:
============================== Summary by node type ==============================
node type, count, avg_ms, avg %, cdf %, mem KB, times called
AllocateTensors, 1, 0.029, 100%, 100%, 0, 1

Timings (microseconds): count=1 curr=29

Operator-wise Profiling Info for Regular Benchmark Runs:
============================== Run Order ==============================
node type, start, first, avg_ms, %, cdf%, mem KB, times called, name
CONV_2D, 0, 0.11, 0.0930388, 44.8994%, 44.8994%, 0, 1, [sequential_11/conv2d_33/Conv2D]:0

============================== Summary by node type ==============================
node type, count, avg_ms, avg %, cdf %, mem KB, times called
CONV_2D, 4, 0.15, 75.5%, 75.5%, 0, 4
ELU, 3, 0.05, 24.5%, 100%, 0, 3

Timings (microseconds): count=50 first=210 curr=200 min=190 max=210 avg=200 std=3

Delegate internal:
============================== Summary by node type ==============================
node type, count, avg_ms, avg %, cdf %, mem KB, times called
Convolution, 4, 0.14, 100%, 100%, 0, 4
"""


def test_latency_of_the_measured_runs() -> None:
    found = benchmark_log.parse_latency(GPU)
    assert (found.init, found.first, found.warmup_mean, found.runs) == (1361236, 125113, 115344, 50)
    assert (found.mean, found.std, found.min, found.max) == (115246, 1329, 111842, 119614)
    assert found.percentiles == {"p5": 112107, "p50": 115350, "p95": 116620}


def test_both_tools_are_read_alike() -> None:
    ours, theirs = (benchmark_log.parse_latency(text) for text in (GPU, LITERT))
    assert (theirs.runs, theirs.mean, theirs.percentiles) == (ours.runs, ours.mean, ours.percentiles)
    for name in ("init", "first", "warmup_mean"):  # milliseconds with two decimals there
        assert getattr(theirs, name) == pytest.approx(getattr(ours, name), abs=6)
    expected = benchmark_log.parse_memory(GPU)
    assert benchmark_log.parse_memory(LITERT) == pytest.approx(expected, abs=0.006)


def test_a_tool_is_known_by_the_flags_that_it_lists() -> None:
    common = "usage: benchmark_model\nFlags:\n\t--num_runs=50\tint32\n"
    assert tool.recognize(f"{common}\t--input_layer_value_files=\tstring\n") == "tflite"
    assert tool.recognize(f"{common}\t--dispatch_library_path=\tstring\n") == "litert"
    assert tool.recognize(common) is None
    words = shlex.split(tool.usage_command("/data/x", "bm"))
    assert words == ["/data/x/bm", "--help=true", "--num_runs=?", "2>&1"]


def test_the_command_of_litert_selects_one_accelerator() -> None:
    def words(delegate: str, **options: bool) -> list[str]:
        line = tool.litert_command(
            "/x", "bm", "k", delegate, 2, "f0", ["--num_runs=7"], is_full=True, **options
        )
        return shlex.split(line)

    cpu, gpu, npu = words("xnnpack"), words("gpu", is_exact=True), words("npu")
    assert {"--use_cpu=true", "--use_gpu=false", "--use_npu=false", "--num_threads=2"} <= set(cpu)
    assert "--require_full_delegation=true" not in cpu
    assert {"--use_cpu=false", "--use_gpu=true", "--require_full_delegation=true"} <= set(gpu)
    assert "--allow_fp16=false" in gpu
    assert {"--use_npu=true", "--dispatch_library_path=/x", "LD_LIBRARY_PATH=/x"} <= set(npu)
    assert cpu[:2] == ["taskset", "f0"]


def test_a_binary_without_percentiles_has_none() -> None:
    found = benchmark_log.parse_latency(OLD)
    assert (found.warmup_mean, found.mean, found.percentiles) == (1.14039e7, 3756.87, {})


def test_equal_runs() -> None:
    found = benchmark_log.parse_latency(
        "INFO: count=50 curr=812(all same) p5=812 median=812 p95=812\n"
        "INFO: Inference timings in us: Init: 1, First inference: 2, Warmup (avg): 3, Inference (avg): 812"
    )
    assert (found.runs, found.mean, found.min, found.max, found.std) == (50, 812, 812, 812, 0)
    assert found.percentiles["p50"] == 812


@pytest.mark.parametrize("log", ["", "hello", "count=5 curr=3", GPU.split("INFO: count")[0]])
def test_another_programs_log(log: str) -> None:
    with pytest.raises(tool.BenchmarkModelError, match="no timings"):
        benchmark_log.parse_latency(log)


def test_memory() -> None:
    assert benchmark_log.parse_memory(GPU) == {"init": 14.4414, "overall": 14.8164, "peak": 74.6641}
    assert benchmark_log.parse_memory(OLD) == {}


def test_delegation() -> None:
    assert benchmark_log.parse_delegation(GPU, "gpu") == ("gpu", "full", 58, 58, 1)
    assert benchmark_log.parse_delegation(OLD, "npu") == ("npu", "partial", None, None, None)
    assert benchmark_log.parse_delegation(GPU, "xnnpack").share == "none"
    assert benchmark_log.parse_delegation(OLD, "cpu").share == "not wanted"


def test_the_profile_is_that_of_the_graphs_operators() -> None:
    assert benchmark_log.parse_profile(PROFILE) == [
        {"type": "CONV_2D", "count": 4, "ms": 0.15, "percent": 75.5},
        {"type": "ELU", "count": 3, "ms": 0.05, "percent": 24.5},
    ]
    assert benchmark_log.parse_profile(GPU) == []


def test_the_command_names_every_input_in_order() -> None:
    line = tool.command(
        "/data/local/tmp/x",
        "bm",
        "warp.tflite",
        {"b": ((1, 8, 512, 1), "b.bin"), "a": ((3,), "a.bin")},
        "xnnpack",
        4,
        "f0",
        ["--num_runs=7"],
    )
    words = shlex.split(line)
    assert words[:4] == ["taskset", "f0", "/data/local/tmp/x/bm", "--graph=/data/local/tmp/x/warp.tflite"]
    assert "--input_layer=b,a" in words
    assert "--input_layer_shape=1,8,512,1:3" in words
    assert "--input_layer_value_files=b:/data/local/tmp/x/b.bin,a:/data/local/tmp/x/a.bin" in words
    assert {"--num_threads=4", "--use_xnnpack=true", "--num_runs=7", "2>&1"} <= set(words)
    free = tool.command("/x", "bm", "k", {}, "cpu", 1, None, [])
    assert "taskset" not in free
    assert "--use_xnnpack=false" in free
