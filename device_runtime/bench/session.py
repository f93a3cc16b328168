"""A benchmark session on one phone: check, measure, profile and judge every configuration.

Usage:
    session = Session(Adb(find_adb()).phone(), load_bundle(folder), binary, RunSettings())
    for row in session.measure(configs):
        results.append(Path("rows.jsonl"), row)
"""

from __future__ import annotations

import platform
import uuid
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

from device_runtime.bench import benchmark_model as tool
from device_runtime.bench.adb import Phone
from device_runtime.bench.adb_errors import AdbTimeoutError
from device_runtime.bench.benchmark_model import BenchmarkModelError
from device_runtime.bench.kernel_case import KernelCase, make_case
from device_runtime.bench.kernel_runner import KernelRunner, Measured, RunFailedError
from device_runtime.bench.phone import Cooling, read_record, wait_until_cool
from device_runtime.bench.plan import THUMBNAIL, Config
from device_runtime.bench.push import FOLDER, push_changed
from device_runtime.bench.results import SCHEMA, Row, latency_row, state_row
from device_runtime.bench.run_settings import RunSettings
from device_runtime.bench.verdict import RowVerdict, failed, judge
from device_runtime.pack import elf
from mvstylizer.bundle import Bundle, BundleError, sha256_of

_PROBE = Config("key_frame", *THUMBNAIL, "xnnpack", 1)
_MACHINES = {"arm64-v8a": "arm64", "armeabi-v7a": "arm (32 bits)", "x86_64": "x86-64"}


class Session:
    """A benchmark of a bundle's kernels on a phone.

    Args:
        phone: The phone.
        bundle: Provides the kernels.
        binary: ``benchmark_model`` for the phone's ABI.
        settings: How long and how carefully to measure.
        npu: Library that implements the delegate ``npu``; None is NNAPI.

    Attributes:
        record: Description of the phone.
        mode: What `phone_mode.benchmark_mode` put in force, for the rows.

    Raises:
        BenchmarkModelError: `binary` or a library does not exist.
        AdbError: The phone disconnects; see `Phone`.
    """

    def __init__(
        self,
        phone: Phone,
        bundle: Bundle,
        binary: Path,
        settings: RunSettings,
        npu: tool.NpuLibrary | None = None,
    ) -> None:
        libraries = _existing(binary, npu)
        program = f"benchmark_model-{sha256_of(binary)[:16]}"
        self.record = read_record(phone)
        self._phone, self._bundle, self._settings = phone, bundle, settings
        self.mode: dict[str, bool] = {}
        self._head: Row = {
            "schema": SCHEMA,
            "run_id": uuid.uuid4().hex,
            "host": {"machine": platform.machine(), "ai_edge_litert": version("ai-edge-litert")},
            "phone": asdict(self.record),
            "npu": _npu_row(npu, libraries),
            "bundle": {
                "name": bundle.name,
                "version": bundle.version,
                "precision": bundle.network.get("precision", ""),
            },
        }
        _check_machine(binary, self.record.abi)
        push_changed(phone, {program: binary} | libraries)
        phone.shell(f"chmod 755 {FOLDER}/{program}")
        self._probe: tuple[KernelCase, float] | None = None
        self._runner = KernelRunner(phone, self.record, program, settings, npu)
        self._head["tool"] = {"name": self._runner.tool, "sha256": sha256_of(binary)}

    def matching(self, rows: Sequence[Row]) -> list[Row]:
        """Return the rows of an earlier run with the same phone, tool and bundle, except failed ones."""
        return [
            row
            for row in rows
            if row["verdict"] != "failed"
            and row["phone"]["serial_hash"] == self.record.serial_hash
            and all(row.get(name) == self._head[name] for name in ("tool", "bundle", "npu"))
        ]

    def measure(self, plan: Sequence[Config]) -> Generator[Row, None, None]:
        """Yield a row for each configuration as soon as it is measured.

        Raises:
            AdbError: The phone disconnects or its storage is full; rows already yielded are complete.
            BenchmarkModelError: The phone cannot run the binary.
            BundleError: A file of the bundle was changed.
        """
        self._start_probe()
        for key, configs in groupby(plan, key=lambda config: config[:3]):
            try:
                case = make_case(self._bundle, *key)
            except BundleError as err:  # a size or a network that this bundle does not have
                yield from (self._absent(config, err.message) for config in configs)
                continue
            for config in configs:
                yield self._row(config, case)

    def _start_probe(self) -> None:
        """Measure a small kernel, to compare with after each row."""
        if not self._settings.probe:
            return
        case = make_case(self._bundle, *_PROBE[:3])
        self._runner.push(self._bundle, _PROBE, case)
        self._probe = case, self._runner.probe(_PROBE, case)

    def _slowdown(self) -> float:
        """Return how much slower the small kernel runs than at the start; 1 without a probe."""
        if self._probe is None:
            return 1.0
        case, before = self._probe
        return self._runner.probe(_PROBE, case) / before

    def _absent(self, config: Config, reason: str) -> Row:
        case = KernelCase("", {}, {}, 1)
        return self._complete(config, case, None, Measured(None, [], [], [], []), failed(reason))

    def _row(self, config: Config, case: KernelCase) -> Row:
        cooling = wait_until_cool(
            self._phone, below_c=self._settings.cool_below_c, seconds=self._settings.cool_seconds
        )
        try:
            self._runner.push(self._bundle, config, case)
            measured = self._runner.run(config, case, cooling.state)
            slowdown = self._slowdown()
            verdict = self._judge(config, measured, cooling, slowdown)
        except (RunFailedError, AdbTimeoutError) as err:
            measured = Measured(None, [], [cooling.state], [], [])
            verdict = failed(str(err))
        return self._complete(config, case, cooling, measured, verdict)

    def _complete(
        self,
        config: Config,
        case: KernelCase,
        cooling: Cooling | None,
        measured: Measured,
        verdict: RowVerdict,
    ) -> Row:
        return self._head | {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "mode": self.mode,
            **self._config_row(config, case),
            **_figures(case, measured),
            "states": [state_row(state) for state in measured.states],
            "cooling": {"waited_s": cooling.waited_s, "cool": cooling.cool} if cooling else None,
            "profile": measured.profile,
            "sustained": measured.sustained,
            "verdict": verdict.name,
            "reasons": list(verdict.reasons),
        }

    def _judge(self, config: Config, measured: Measured, cooling: Cooling, slowdown: float) -> RowVerdict:
        assert measured.check
        return judge(
            measured.check.parity,
            measured.check.delegation,
            cooling.cool,
            measured.states,
            self.record.big_cores(config.threads, self._settings.cores),
            [repeat.percentiles.get("p50", repeat.mean) for repeat in measured.repeats],
            slowdown,
        )

    def _config_row(self, config: Config, case: KernelCase) -> dict[str, Any]:
        return {
            "config": {
                "kernel": config.kernel,
                "resolution": [config.width, config.height],
                "delegate": config.delegate,
                "threads": config.threads,
                "affinity": self._runner.mask(config),
                "cores": self._settings.cores,
                "shapes": {name: list(array.shape) for name, array in case.inputs.items()},
                "calls_per_frame": case.calls_per_frame,
                "repeats": self._settings.repeats,
                "runs": self._settings.runs,
                "min_seconds": self._settings.min_seconds,
            },
            "kernel_sha256": self._bundle.spec(case.role).sha256 if case.role else "",
        }


def _existing(binary: Path, npu: tool.NpuLibrary | None) -> dict[str, Path]:
    """Check that all files exist and return the NPU libraries by name."""
    if not binary.is_file():
        raise BenchmarkModelError(f"There is no benchmark_model at {binary}", tool.WHERE_TO_GET_IT)
    libraries = {file.name: file for file in npu.files} if npu else {}
    for file in libraries.values():
        if not file.is_file():
            raise BenchmarkModelError(f"There is no NPU library at {file}", "Check --npu-library")
    return libraries


def _check_machine(binary: Path, abi: str) -> None:
    """Check that a program is for the phone's architecture. A script is for any."""
    machine, wanted = elf.machine_of(binary), _MACHINES.get(abi)
    if machine and wanted and machine != wanted:
        raise BenchmarkModelError(
            f"{binary} is for {machine}, and the phone is {abi}", f"Build or download it for {abi}"
        )


def _npu_row(npu: tool.NpuLibrary | None, libraries: Mapping[str, Path]) -> dict[str, Any]:
    return {
        "delegate": npu.files[0].name if npu else "nnapi",
        "options": npu.options if npu else "",
        "sha256": {name: sha256_of(file) for name, file in libraries.items()},
    }


def _figures(case: KernelCase, measured: Measured) -> dict[str, Any]:
    latency = latency_row(measured.repeats) if measured.repeats else None
    check = measured.check
    return {
        "latency_us": latency,
        "frame_ms": latency["mean"] * case.calls_per_frame / 1000 if latency else None,
        "memory_mb": check.memory_mb if check else {},
        "delegation": check.delegation._asdict() if check else None,
        "parity": check.parity._asdict() if check and check.parity else None,
        "evidence": check.evidence if check else [],
    }
