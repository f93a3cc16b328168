"""Fake of TFLite's benchmark_model: its flags and log lines, with the kernel run by LiteRT.

The emulated phone's folder is in $PHONE; ``behaviour.json`` there configures the phone's behavior. Times come
from it too, so that verdicts do not depend on this machine's load.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

BAR = "=" * 30
BY_TYPE = f"{BAR} Summary by node type {BAR}\nnode type, count, avg_ms, avg %, cdf %, mem KB, times called\n"
PROFILE = f"""Profiling Info for Benchmark Initialization:
{BY_TYPE}AllocateTensors, 1, 0.029, 100%, 100%, 0, 1

Operator-wise Profiling Info for Regular Benchmark Runs:
{BAR} Run Order {BAR}
node type, start, first, avg_ms, %, cdf%, mem KB, times called, name
GATHER, 0, 0.11, 0.6, 75%, 75%, 0, 1, [warped]:0

{BY_TYPE}GATHER, 1, 0.6, 75%, 75%, 0, 1
TfLiteXNNPackDelegate, 3, 0.2, 25%, 100%, 0, 3

Timings (microseconds): count=50 first=900 curr=800 min=790 max=900 avg=801 std=9
"""


def say(line: str, level: str = "INFO") -> None:
    sys.stderr.write(f"{level}: {line}\n")


def fail(line: str) -> None:
    say(line, "ERROR")
    sys.exit(1)


def stat(times: list[float]) -> str:
    """As StatWithPercentiles prints it; a percentile is the element at size·p/100."""
    ordered = sorted(times)
    at = {p: int(ordered[len(ordered) * p // 100]) for p in (5, 50, 95)}
    text = f"count={len(times)} curr={int(times[-1])}"
    if len(set(times)) == 1:
        text += "(all same)" if len(times) > 1 else ""
    else:
        text = (
            f"count={len(times)} first={int(times[0])} curr={int(times[-1])} min={int(min(times))}"
            f" max={int(max(times))} avg={np.mean(times):g} std={int(np.std(times))}"
        )
    return f"{text} p5={at[5]} median={at[50]} p95={at[95]}"


def loaded(flags: dict[str, str]) -> tuple[Any, dict[str, Any]]:
    plain = flags.get("use_xnnpack") == "false"
    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if plain else OpResolverType.AUTO
    interpreter = Interpreter(
        flags["graph"], num_threads=int(flags["num_threads"]), experimental_op_resolver_type=resolver
    )
    details = interpreter.get_input_details()
    names, shapes = flags["input_layer"].split(","), flags["input_layer_shape"].split(":")
    if len(names) != len(shapes) or len(names) != len(details):
        fail("The number of items in --input_layer_shape must match the number of items in --input_layer")
    for detail, name, shape in zip(details, names, shapes, strict=True):
        if detail["name"] != name:
            fail(f"Tensor # {detail['index']} is named {detail['name']} but flags call it {name}")
        interpreter.resize_tensor_input(detail["index"], [int(size) for size in shape.split(",")])
    interpreter.allocate_tensors()
    files = dict(item.split(":", 1) for item in flags["input_layer_value_files"].split(","))
    values = {}
    for detail in interpreter.get_input_details():
        content = Path(files[detail["name"]]).read_bytes()
        if len(content) != np.prod(detail["shape"]) * np.dtype(detail["dtype"]).itemsize:
            fail(f"The size of {files[detail['name']]} is {len(content)} bytes.")
        values[detail["index"]] = np.frombuffer(content, detail["dtype"]).reshape(detail["shape"])
    return interpreter, values


def delegated(flags: dict[str, str], behaviour: dict[str, Any]) -> None:
    wanted = {"use_gpu": "GPU", "use_nnapi": "NNAPI", "use_xnnpack": "XNNPACK"}
    for flag, name in wanted.items():
        if flags.get(flag) == "true":
            delegate(flag, name, behaviour.get("share", {}).get(name, "full"))
    if library := flags.get("external_delegate_path"):
        if Path(library).parent != Path(os.environ["LD_LIBRARY_PATH"]) or not Path(library).is_file():
            fail(f"dlopen failed: library {library} not found")
        delegate("external_delegate_path", "EXTERNAL", "full")


def delegate(flag: str, name: str, share: str) -> None:
    if share == "missing":
        say(f"Unconsumed cmdline flags: --{flag}=true")
    elif share == "error":
        fail(f"Failed to apply {name} delegate.")
    elif share == "none":
        say(f"Though {name} delegate is explicitly applied, the model graph will not be executed by it.")
    else:
        nodes = 34 if share == "full" else 21
        took = f"Replacing {nodes} out of 34 node(s) with delegate (TfLite{name}Delegate) node"
        say(f"{took}, yielding 1 partitions for the whole graph.", "VERBOSE")
        how = "completely executed by the delegate."
        if share == "partial":
            how = "partially executed by the delegate w/ 1 delegate kernels."
        say(f"Explicitly applied {name} delegate, and the model graph will be {how}")


def work(interpreter: Any, values: dict[int, Any], times: list[float]) -> None:
    for _ in times:
        for index, value in values.items():
            interpreter.set_tensor(index, value)
        interpreter.invoke()
    say(stat(times))


def write_outputs(interpreter: Any, target: str, off_by: int) -> None:
    outputs = [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]
    if off_by:
        outputs[0] = outputs[0] + outputs[0].dtype.type(off_by)
    Path(target).write_bytes(b"".join(output.tobytes() for output in outputs))


def heat(root: Path, behaviour: dict[str, Any], call: int) -> None:
    """Make the phone hot at its n-th call: Android reports it and caps the big cores."""
    if call == behaviour.get("hot_at_call"):
        (root / "system/dumpsys-thermalservice.txt").write_text("Thermal Status: 2\n")
        for cpu in behaviour.get("capped", []):
            (root / f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_max_freq").write_text("1574400\n")


def called(root: Path, flags: dict[str, str]) -> int:
    """Record the call and return its number, from 1."""
    calls = root / "calls.jsonl"
    with calls.open("a") as stream:
        stream.write(json.dumps(flags) + "\n")
    return len(calls.read_text().splitlines())


def usage() -> None:
    """As after a value of the wrong type."""
    fail(
        "Failed to parse flag num_runs.\nusage: benchmark_model\nFlags:\n"
        "\t--num_runs=50\tint32\toptional\texpected number of runs\n"
        "\t--input_layer_value_files=\tstring\toptional\tA map-like string\n"
        "\t--use_xnnpack=false\tbool\toptional\texplicitly apply the XNNPACK delegate"
    )


def main() -> None:
    flags = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:])
    if flags["num_runs"] == "?":
        usage()
    root = Path(os.environ["PHONE"])
    behaviour = json.loads((root / "behaviour.json").read_text())
    call = called(root, flags)
    say(f"Graph: [{flags['graph']}]")
    interpreter, values = loaded(flags)
    delegated(flags, behaviour)
    heat(root, behaviour, call)
    say("Initialized session in 4.2ms.")
    time_us = behaviour["times_us"][call % len(behaviour["times_us"])]
    warm_up = [2.0 * time_us]
    regular = [float(time_us + i % 10) for i in range(int(flags["num_runs"]))]
    work(interpreter, values, warm_up)
    work(interpreter, values, regular)
    say(
        f"Inference timings in us: Init: 4200, First inference: {int(warm_up[0])},"
        f" Warmup (avg): {np.mean(warm_up):g}, Inference (avg): {np.mean(regular):g}"
    )
    say("Memory footprint delta from the start of the tool (MB): init=3.5 overall=5.25")
    if flags.get("report_peak_memory_footprint") == "true":
        say("Overall peak memory footprint (MB) via periodic monitoring: 17.75")
    if "output_filepath" in flags:
        write_outputs(interpreter, flags["output_filepath"], behaviour.get("off_by", 0))
    if flags.get("enable_op_profiling") == "true":
        sys.stdout.write(PROFILE)


main()
