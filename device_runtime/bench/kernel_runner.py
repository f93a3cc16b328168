"""Run one configuration of a kernel on a phone with ``benchmark_model``."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from device_runtime.bench import benchmark_log as log
from device_runtime.bench import benchmark_model as tool
from device_runtime.bench.adb import Phone
from device_runtime.bench.benchmark_model import BenchmarkModelError
from device_runtime.bench.kernel_case import KernelCase
from device_runtime.bench.parity import Parity, compare
from device_runtime.bench.phone import PhoneRecord, PhoneState, affinity_mask, read_state
from device_runtime.bench.plan import Config
from device_runtime.bench.push import FOLDER, push_changed
from device_runtime.bench.run_settings import RunSettings
from mvstylizer.bundle import Bundle

_OUTPUT = f"{FOLDER}/output.bin"
_CANNOT_RUN = (126, 127)  # sh: not executable, not found
_CALL_TIMEOUT_S = 360.0  # the binary limits itself to 150 s of warm-up and 150 s of runs


class RunFailedError(BenchmarkModelError):
    """Error raised when the binary does not support a configuration, for example without a GPU."""


class Check(NamedTuple):
    """Result of the first run of a configuration."""

    parity: Parity
    delegation: log.Delegation
    memory_mb: dict[str, float]
    evidence: list[str]


class Measured(NamedTuple):
    """Results of all runs of a configuration, and the phone's state before and after each latency run."""

    check: Check | None
    repeats: list[log.Latency]
    states: list[PhoneState]
    profile: list[dict[str, Any]]


class KernelRunner:
    """Runs kernels on one phone.

    Args:
        phone: The phone.
        record: Its description.
        program: Name of the binary in the benchmark folder on the phone.
        settings: How long to measure.
        npu: Library that implements the delegate ``npu``; None is NNAPI.
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

    def push(self, bundle: Bundle, config: Config, case: KernelCase) -> None:
        """Copy a kernel and its inputs to the phone.

        Raises:
            AdbError: The copy fails.
            BundleError: The bundle lacks the kernel.
        """
        with tempfile.TemporaryDirectory() as folder:
            files = {_kernel_name(config.kernel): bundle.file(config.kernel)}
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
        measured = Measured(self._check(config, case), [], [state], [])
        if measured.check and not measured.check.parity.passed:
            return measured  # a kernel with wrong outputs gets no figures
        settings = self._settings
        flags = tool.latency_flags(settings.runs, settings.min_seconds, settings.warmup_seconds)
        for _ in range(settings.repeats):
            measured.repeats.append(log.parse_latency(self._call(config, case, flags)))
            measured.states.append(read_state(self._phone))
        if settings.profile:
            profile = self._call(config, case, tool.profile_flags(settings.runs))
            measured.profile.extend(log.parse_profile(profile))
        return measured

    def mask(self, config: Config) -> str | None:
        """Return taskset's mask for a configuration; None where the phone hides its clocks."""
        cores = self._record.big_cores(config.threads)
        return affinity_mask(cores) if cores else None

    def _check(self, config: Config, case: KernelCase) -> Check:
        """Run once and check the output, the delegation and the memory."""
        self._phone.shell(f"rm -f {_OUTPUT}")  # left by another configuration
        text = self._call(config, case, tool.check_flags(_OUTPUT))
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / "output.bin"
            self._phone.pull(_OUTPUT, local)
            parity = compare(case.outputs, local.read_bytes(), config.delegate)
        delegation = log.parse_delegation(text, config.delegate)
        return Check(parity, delegation, log.parse_memory(text), log.evidence(text))

    def _call(self, config: Config, case: KernelCase, flags: Sequence[str]) -> str:
        """Run the binary and return its log."""
        line = tool.command(
            FOLDER,
            self._program,
            _kernel_name(config.kernel),
            {name: (array.shape, _input_name(config, name)) for name, array in case.inputs.items()},
            config.delegate,
            config.threads,
            self.mask(config),
            flags,
            self._npu,
        )
        done = self._phone.shell(line, _CALL_TIMEOUT_S)
        if done.exit_code in _CANNOT_RUN:
            raise BenchmarkModelError(
                f"The phone ({self._record.abi}) cannot run the binary: {_last_line(done.stdout)}",
                tool.WHERE_TO_GET_IT,
            )
        if done.exit_code:
            trouble = log.evidence(done.stdout) or [_last_line(done.stdout)]
            raise RunFailedError(f"benchmark_model exits with {done.exit_code}: {trouble[-1]}")
        return done.stdout


def _kernel_name(kernel: str) -> str:
    return f"{kernel}.tflite"


def _input_name(config: Config, tensor: str) -> str:
    return f"{config.kernel}-{config.width}x{config.height}-{tensor}.bin"


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no output"])[-1]
