"""One benchmark on one phone: every configuration checked, measured, profiled and judged."""

from __future__ import annotations

import platform
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from device_runtime.bench import benchmark_model as tool
from device_runtime.bench.adb import AdbTimeoutError, Phone
from device_runtime.bench.kernel_case import KernelCase, make_case
from device_runtime.bench.parity import Parity, compare
from device_runtime.bench.phone import (
    Cooling,
    PhoneState,
    affinity_mask,
    read_record,
    read_state,
    wait_until_cool,
)
from device_runtime.bench.plan import Config
from device_runtime.bench.push import FOLDER, push_changed
from device_runtime.bench.results import SCHEMA, Row, latency_row, state_row
from device_runtime.bench.verdict import Verdict, failed, judge
from mvstylizer.bundle import Bundle, sha256_of

_OUTPUT = f"{FOLDER}/output.bin"
_CANNOT_RUN = (126, 127)  # sh: not executable, not found
_CALL_SECONDS = 360.0  # the binary stops itself after 150 s of warm-up and 150 s of runs


@dataclass(frozen=True)
class Effort:
    """How long and how carefully to measure.

    Attributes:
        repeats: Latency runs of a configuration.
        runs: Inferences of a repeat, at least.
        min_seconds: Length of a repeat, at least.
        warmup_seconds: Before each repeat.
        cool_below_c: Battery temperature, °C, above which a configuration waits.
        cool_seconds: Longest wait.
        profile: Whether a run of its own times the operators.
    """

    repeats: int = 5
    runs: int = 50
    min_seconds: float = 1.0
    warmup_seconds: float = 0.5
    cool_below_c: float = 35.0
    cool_seconds: float = 600.0
    profile: bool = True


class _Check(NamedTuple):
    """What the first run of a configuration gave."""

    parity: Parity
    delegation: tool.Delegation
    memory_mb: dict[str, float]
    evidence: list[str]


class _Measured(NamedTuple):
    """What all runs of a configuration gave, and the phone's state before and after each repeat."""

    check: _Check | None
    repeats: list[tool.Latency]
    states: list[PhoneState]
    profile: list[dict[str, Any]]


class _RunFailedError(Exception):
    """The binary runs and cannot do this configuration, for example for want of a GPU."""


class Session:
    """A benchmark of a bundle's kernels on a phone.

    Args:
        phone: The phone.
        bundle: Holds the kernels.
        binary: ``benchmark_model`` for the phone's ABI.
        effort: How long and how carefully to measure.
        npu: What ``npu`` means; None is NNAPI.

    Raises:
        BenchmarkModelError: `binary` or a library is no file.
        AdbError: The phone disappears; see `Phone`.
    """

    def __init__(
        self,
        phone: Phone,
        bundle: Bundle,
        binary: Path,
        effort: Effort,
        npu: tool.NpuLibrary | None = None,
    ) -> None:
        if not binary.is_file():
            raise tool.BenchmarkModelError(f"There is no benchmark_model at {binary}", tool.WHERE_TO_GET_IT)
        libraries = {file.name: file for file in npu.files} if npu else {}
        for file in libraries.values():
            if not file.is_file():
                raise tool.BenchmarkModelError(f"There is no NPU library at {file}")
        self._phone, self._bundle, self._effort, self._npu = phone, bundle, effort, npu
        self.record = read_record(phone)
        self._program = f"benchmark_model-{sha256_of(binary)[:16]}"
        self._head = {
            "schema": SCHEMA,
            "run_id": uuid.uuid4().hex,
            "host": {"machine": platform.machine(), "ai_edge_litert": version("ai-edge-litert")},
            "phone": asdict(self.record),
            "tool": {"name": "benchmark_model", "sha256": sha256_of(binary)},
            "npu": {
                "delegate": npu.files[0].name if npu else "nnapi",
                "options": npu.options if npu else "",
                "sha256": {name: sha256_of(file) for name, file in libraries.items()},
            },
            "bundle": {"name": bundle.name, "version": bundle.version},
        }
        push_changed(phone, {self._program: binary} | libraries)
        phone.shell(f"chmod 755 {FOLDER}/{self._program}")

    def measure(self, plan: Sequence[Config]) -> Iterator[Row]:
        """Yield a row for each configuration when it is done.

        Raises:
            AdbError: The phone disappears or its storage is full; rows before are done.
            BenchmarkModelError: The phone cannot run the binary.
            BundleError: The bundle lacks a kernel.
        """
        for key, configs in groupby(plan, key=lambda config: config[:3]):
            case = make_case(self._bundle, *key)
            for number, config in enumerate(configs):
                if not number:
                    self._push(config, case)
                yield self._row(config, case)

    def _row(self, config: Config, case: KernelCase) -> Row:
        cooling = wait_until_cool(
            self._phone, below_c=self._effort.cool_below_c, seconds=self._effort.cool_seconds
        )
        try:
            measured = self._run(config, case, cooling.state)
            verdict = self._judge(config, measured, cooling)
        except (_RunFailedError, AdbTimeoutError) as err:
            measured = _Measured(None, [], [cooling.state], [])
            verdict = failed(str(err))
        return self._head | {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            **self._config_row(config, case),
            **_figures(case, measured),
            "states": [state_row(state) for state in measured.states],
            "cooling": {"waited_s": cooling.waited_s, "cool": cooling.cool},
            "profile": measured.profile,
            "verdict": verdict.name,
            "reasons": list(verdict.reasons),
        }

    def _run(self, config: Config, case: KernelCase, state: PhoneState) -> _Measured:
        measured = _Measured(self._check(config, case), [], [state], [])
        if measured.check and not measured.check.parity.passed:
            return measured  # what computes something else gets no figures: nobody can quote them
        effort = self._effort
        flags = tool.latency_flags(effort.runs, effort.min_seconds, effort.warmup_seconds)
        for _ in range(effort.repeats):
            measured.repeats.append(tool.parse_latency(self._call(config, case, flags)))
            measured.states.append(read_state(self._phone))
        if effort.profile:
            measured.profile.extend(
                tool.parse_profile(self._call(config, case, tool.profile_flags(effort.runs)))
            )
        return measured

    def _check(self, config: Config, case: KernelCase) -> _Check:
        """Run once with the output kept: is it right, how much is delegated, how much memory."""
        self._phone.shell(f"rm -f {_OUTPUT}")  # another configuration's
        log = self._call(config, case, tool.check_flags(_OUTPUT))
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / "output.bin"
            self._phone.pull(_OUTPUT, local)
            parity = compare(case.outputs, local.read_bytes(), config.delegate)
        delegation = tool.parse_delegation(log, config.delegate)
        return _Check(parity, delegation, tool.parse_memory(log), tool.evidence(log))

    def _call(self, config: Config, case: KernelCase, flags: Sequence[str]) -> str:
        """Run the binary and return its log."""
        line = tool.command(
            FOLDER, self._program, _kernel_name(config.kernel),
            {name: (array.shape, _input_name(config, name)) for name, array in case.inputs.items()},
            config.delegate, config.threads, self._mask(config), flags, self._npu,
        )  # fmt: skip
        done = self._phone.shell(line, _CALL_SECONDS)
        if done.exit_code in _CANNOT_RUN:
            raise tool.BenchmarkModelError(
                f"The phone ({self.record.abi}) cannot run the binary: {_last_line(done.stdout)}",
                tool.WHERE_TO_GET_IT,
            )
        if done.exit_code:
            trouble = tool.evidence(done.stdout) or [_last_line(done.stdout)]
            raise _RunFailedError(f"benchmark_model exits with {done.exit_code}: {trouble[-1]}")
        return done.stdout

    def _mask(self, config: Config) -> str | None:
        cores = self.record.big_cores(config.threads)
        return affinity_mask(cores) if cores else None

    def _judge(self, config: Config, measured: _Measured, cooling: Cooling) -> Verdict:
        assert measured.check
        medians = [repeat.percentiles.get("p50", repeat.mean) for repeat in measured.repeats]
        return judge(
            measured.check.parity, measured.check.delegation, cooling.cool, measured.states,
            self.record.big_cores(config.threads), medians,
        )  # fmt: skip

    def _push(self, config: Config, case: KernelCase) -> None:
        with tempfile.TemporaryDirectory() as folder:
            files = {_kernel_name(config.kernel): self._bundle.file(config.kernel)}
            for name, array in case.inputs.items():
                local = Path(folder) / name
                array.tofile(local)
                files[_input_name(config, name)] = local
            push_changed(self._phone, files)

    def _config_row(self, config: Config, case: KernelCase) -> dict[str, Any]:
        return {
            "config": {
                "kernel": config.kernel,
                "resolution": [config.width, config.height],
                "delegate": config.delegate,
                "threads": config.threads,
                "affinity": self._mask(config),
                "shapes": {name: list(array.shape) for name, array in case.inputs.items()},
                "calls_per_frame": case.calls_per_frame,
                "repeats": self._effort.repeats,
                "runs": self._effort.runs,
                "min_seconds": self._effort.min_seconds,
            },
            "kernel_sha256": self._bundle.spec(config.kernel).sha256,
        }


def _figures(case: KernelCase, measured: _Measured) -> dict[str, Any]:
    latency = latency_row(measured.repeats) if measured.repeats else None
    check = measured.check
    return {
        "latency_us": latency,
        "frame_ms": latency["mean"] * case.calls_per_frame / 1000 if latency else None,
        "memory_mb": check.memory_mb if check else {},
        "delegation": check.delegation._asdict() if check else None,
        "parity": check.parity._asdict() if check else None,
        "evidence": check.evidence if check else [],
    }


def _kernel_name(kernel: str) -> str:
    return f"{kernel}.tflite"


def _input_name(config: Config, tensor: str) -> str:
    return f"{config.kernel}-{config.width}x{config.height}-{tensor}.bin"


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it says nothing"])[-1]
