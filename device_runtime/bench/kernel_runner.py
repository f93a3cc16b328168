"""Run one configuration of a kernel on a phone with ``benchmark_model``."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from device_runtime.bench import benchmark_log as log
from device_runtime.bench import benchmark_model as tool
from device_runtime.bench.adb import Phone, ShellResult
from device_runtime.bench.benchmark_model import BenchmarkModelError
from device_runtime.bench.kernel_case import KernelCase
from device_runtime.bench.parity import Parity, compare
from device_runtime.bench.phone import PhoneRecord, PhoneState, affinity_mask, read_state
from device_runtime.bench.phone_mode import TOP_APP
from device_runtime.bench.plan import Config
from device_runtime.bench.push import FOLDER, push_changed
from device_runtime.bench.run_settings import RunSettings
from device_runtime.bench.sustained import sustain
from mvstylizer.bundle import Bundle

_OUTPUT = f"{FOLDER}/output.bin"
_CANNOT_RUN = (126, 127)  # sh: not executable, not found
_PROBE_RUNS = 50
_CALL_TIMEOUT_S = 360.0  # the binary limits itself to 150 s of warm-up and 150 s of runs


class RunFailedError(BenchmarkModelError):
    """Error raised when the binary does not support a configuration, for example without a GPU."""


class Check(NamedTuple):
    """Result of the first run of a configuration; without parity if the tool writes no outputs."""

    parity: Parity | None
    delegation: log.Delegation
    memory_mb: dict[str, float]
    evidence: list[str]


class Measured(NamedTuple):
    """Results of all runs of a configuration, and the phone's state before and after each latency run.

    Attributes:
        check: Result of the first run; None if it failed.
        repeats: The latency runs.
        states: The phone's state before the first and after each of them.
        profile: Time of each operator.
        sustained: A row for each minute; see `sustained.sustain`.
    """

    check: Check | None
    repeats: list[log.Latency]
    states: list[PhoneState]
    profile: list[dict[str, Any]]
    sustained: list[dict[str, Any]]


class KernelRunner:
    """Runs kernels on one phone.

    Args:
        phone: The phone.
        record: Its description.
        program: Name of the binary in the benchmark folder on the phone.
        settings: How long to measure.
        npu: Library that implements the delegate ``npu``; None is NNAPI.

    Attributes:
        tool: Which of the two tools the binary is.

    Raises:
        BenchmarkModelError: The phone cannot run the binary, it is another program, or the wrong one of the
            two for `npu`.
    """

    def __init__(
        self,
        phone: Phone,
        record: PhoneRecord,
        program: str,
        settings: RunSettings,
        npu: tool.NpuLibrary | None,
    ) -> None:
        self._phone, self._record, self._program = phone, record, program
        self._settings, self._npu = settings, npu
        self.tool = self._recognized()

    def push(self, bundle: Bundle, config: Config, case: KernelCase) -> None:
        """Copy a kernel and its inputs to the phone.

        Raises:
            AdbError: The copy fails.
            BundleError: The bundle lacks the kernel.
        """
        with tempfile.TemporaryDirectory() as folder:
            files = {self._graph(config, case): self._graph_file(bundle, config, case)}
            for name, array in case.inputs.items():
                local = Path(folder) / name
                array.tofile(local)
                files[_input_name(config, name)] = local
            push_changed(self._phone, files)

    def run(self, config: Config, case: KernelCase, state: PhoneState) -> Measured:
        """Check, measure and profile one configuration.

        Args:
            config: The configuration; its files are on the phone.
            case: Inputs and expected outputs.
            state: The phone's state before.

        Raises:
            RunFailedError: The binary does not support the configuration.
            AdbError: The phone disconnects.
            BenchmarkModelError: The phone cannot run the binary.
        """
        measured = Measured(self._check(config, case), [], [state], [], [])
        if measured.check and measured.check.parity and not measured.check.parity.passed:
            return measured  # a kernel with wrong outputs gets no figures
        settings = self._settings
        flags = tool.latency_flags(settings.runs, settings.min_seconds, settings.warmup_seconds)
        for _ in range(settings.repeats):
            measured.repeats.append(log.parse_latency(self._call(config, case, flags)))
            measured.states.append(read_state(self._phone))
        if settings.profile and self.tool == "tflite":
            profile = self._call(config, case, tool.profile_flags(settings.runs))
            measured.profile.extend(log.parse_profile(profile))
        if settings.sustain_minutes:
            minutes = settings.sustain_minutes
            second = partial(self._median, config, case, tool.latency_flags(1, 1.0, 0))
            measured.sustained.extend(sustain(second, partial(read_state, self._phone), minutes))
        return measured

    def _median(self, config: Config, case: KernelCase, flags: Sequence[str]) -> float:
        latency = log.parse_latency(self._call(config, case, flags))
        return latency.percentiles.get("p50", latency.mean)

    def probe(self, config: Config, case: KernelCase) -> float:
        """Return the median latency in µs of a short run, to compare with the same run at another time.

        Raises:
            RunFailedError: The binary does not support the configuration.
            AdbError: The phone disconnects.
        """
        return self._median(config, case, tool.latency_flags(_PROBE_RUNS, 0, 0.1))

    def mask(self, config: Config) -> str | None:
        """Return taskset's mask for a configuration; None where the phone hides its clocks."""
        cores = self._record.big_cores(config.threads, self._settings.cores)
        return affinity_mask(cores) if cores else None

    def _recognized(self) -> tool.Tool:
        usage = self._run(tool.usage_command(FOLDER, self._program)).stdout
        found = tool.recognize(usage)
        if found is None:
            raise BenchmarkModelError(
                f"The binary is neither {' nor '.join(tool.TOOLS.values())}: {_last_line(usage)}",
                tool.WHERE_TO_GET_IT,
            )
        if self._npu and self._npu.graphs and found != "litert":
            raise BenchmarkModelError(
                f"The binary is {tool.TOOLS[found]}, which cannot run compiled graphs",
                f"Set --benchmark-bin to {tool.TOOLS['litert']}",
            )
        return found

    def _check(self, config: Config, case: KernelCase) -> Check:
        """Run once and check the output, the delegation and the memory."""
        if self.tool == "litert":
            return self._check_litert(config, case)
        self._phone.shell(f"rm -f {_OUTPUT}")  # left by another configuration
        text = self._call(config, case, tool.check_flags(_OUTPUT))
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / "output.bin"
            self._phone.pull(_OUTPUT, local)
            parity = compare(case.outputs, local.read_bytes(), config.delegate)
        delegation = log.parse_delegation(text, config.delegate)
        return Check(parity, delegation, log.parse_memory(text), log.evidence(text))

    def _check_litert(self, config: Config, case: KernelCase) -> Check:
        """Run once, first as if nothing but a whole graph on the accelerator would do."""
        if reason := tool.litert_cannot(config.delegate, case.is_resized):
            raise RunFailedError(reason)
        try:
            text, share = self._call(config, case, tool.check_flags(None), is_full=True), "full"
        except RunFailedError:
            text, share = self._call(config, case, tool.check_flags(None)), "partial"
        delegation = log.parse_delegation(text, config.delegate, share)
        return Check(None, delegation, log.parse_memory(text), log.evidence(text))

    def _call(self, config: Config, case: KernelCase, flags: Sequence[str], is_full: bool = False) -> str:
        """Run the binary and return its log."""
        graph, mask, is_exact = self._graph(config, case), self.mask(config), case.needs_float32
        if self.tool == "litert":
            line = tool.litert_command(
                FOLDER,
                self._program,
                graph,
                config.delegate,
                config.threads,
                mask,
                flags,
                is_full=is_full,
                is_exact=is_exact,
            )
        else:
            inputs = {name: (array.shape, _input_name(config, name)) for name, array in case.inputs.items()}
            line = tool.command(
                FOLDER,
                self._program,
                graph,
                inputs,
                config.delegate,
                config.threads,
                mask,
                flags,
                self._npu,
                is_exact,
            )
        done = self._run(line)
        if done.exit_code:
            trouble = log.evidence(done.stdout) or [_last_line(done.stdout)]
            raise RunFailedError(f"benchmark_model exits with {done.exit_code}: {trouble[-1]}")
        return done.stdout

    def _run(self, line: str) -> ShellResult:
        done = self._phone.run(TOP_APP + line, _CALL_TIMEOUT_S)
        if done.exit_code in _CANNOT_RUN:
            raise BenchmarkModelError(
                f"The phone ({self._record.abi}) cannot run the binary: {_last_line(done.stdout)}",
                tool.WHERE_TO_GET_IT,
            )
        return done

    def _graph(self, config: Config, case: KernelCase) -> str:
        """Return the graph's name on the phone."""
        return self._compiled(config, case).name if self._is_compiled(config) else f"{case.role}.tflite"

    def _graph_file(self, bundle: Bundle, config: Config, case: KernelCase) -> Path:
        if not self._is_compiled(config):
            return bundle.file(case.role)
        path = self._compiled(config, case)
        if not path.is_file():
            raise RunFailedError(f"there is no {path.name} among the compiled graphs")
        return path

    def _is_compiled(self, config: Config) -> bool:
        return config.delegate == "npu" and self._npu is not None and self._npu.graphs is not None

    def _compiled(self, config: Config, case: KernelCase) -> Path:
        assert self._npu
        assert self._npu.graphs
        return self._npu.graphs / f"{case.role}_{self._npu.soc}.tflite"


def _input_name(config: Config, tensor: str) -> str:
    return f"{config.kernel}-{config.width}x{config.height}-{tensor}.bin"


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no output"])[-1]
