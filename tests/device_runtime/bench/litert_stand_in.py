"""Fake of LiteRT's benchmark_litert_model: its flags and log lines, in milliseconds; it makes up its inputs.

The emulated phone's folder is in $PHONE; ``behaviour.json`` there may name accelerators that take a part of a
graph (``partial``). The kernel runs in LiteRT on this machine's CPU.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

USAGE = """ERROR: Failed to parse flag num_runs.
usage: benchmark_model
Flags:
\t--num_runs=50\tint32\toptional\texpected number of runs
\t--graph=\tstring\toptional\tThe path to the model file.
\t--use_cpu=true\tbool\toptional\tWhether to use CPU accelerator.
\t--dispatch_library_path=\tstring\toptional\tDispatch library path.
"""


def fail(line: str) -> None:
    sys.stderr.write(f"ERROR: [{line}]\n")
    sys.exit(1)


def main() -> None:
    flags = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:])
    if flags["num_runs"] == "?":
        sys.stderr.write(USAGE)
        sys.exit(1)
    root = Path(os.environ["PHONE"])
    behaviour = json.loads((root / "behaviour.json").read_text())
    with (root / "calls.jsonl").open("a") as stream:
        stream.write(json.dumps(flags) + "\n")
    on = [
        name for name in ("npu", "gpu", "cpu") if flags.get(f"use_{name}", "true" * (name == "cpu")) == "true"
    ]
    if flags.get("require_full_delegation") == "true":
        if "cpu" in on:
            fail("Requesting full delegation and CPU acceleration are incompatible.")
        if on[0] in behaviour.get("partial", []):
            fail("Failed to compile model.")
    if on[0] == "npu" and not list(Path(flags["dispatch_library_path"]).glob("libLiteRtDispatch*.so")):
        fail("No dispatch library found")
    interpreter = Interpreter(flags["graph"], num_threads=int(flags["num_threads"]))
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], np.zeros(detail["shape"], detail["dtype"]))
    interpreter.invoke()
    times = [behaviour["times_us"][0] + i % 10 for i in range(int(flags["num_runs"]))]
    ordered = sorted(times)
    p5, p50, p95 = (ordered[len(ordered) * p // 100] for p in (5, 50, 95))
    mean = sum(times) / len(times)
    count = f"count={len(times)} first={times[0]} curr={times[-1]} min={ordered[0]} max={ordered[-1]}"
    sys.stderr.write(
        "INFO: count=1 curr=2000\n\n"
        f"INFO: {count} avg={mean:g} std=3 p5={p5} median={p50} p95={p95}\n\n"
        "INFO: [benchmark_litert_model.h:77] \n========== BENCHMARK RESULTS ==========\n"
        "INFO: [benchmark_litert_model.h:78] Model initialization: 4.20 ms\n"
        "INFO: [benchmark_litert_model.h:79] Warmup (first):       2.00 ms\n"
        "INFO: [benchmark_litert_model.h:81] Warmup (avg):         2.00 ms (1 runs)\n"
        f"INFO: [benchmark_litert_model.h:83] Inference (avg):      {mean / 1000:.2f} ms\n"
        "INFO: [benchmark_litert_model.h:110] Init footprint:       3.50 MB\n"
        "INFO: [benchmark_litert_model.h:112] Overall footprint:    5.25 MB\n"
        "INFO: [benchmark_litert_model.h:117] Peak memory:          17.75 MB\n"
    )


main()
