"""Settings of a benchmark run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RunSettings:
    """How long and how carefully to measure.

    Attributes:
        repeats: Latency runs per configuration.
        runs: Minimum number of inferences per latency run.
        min_seconds: Minimum duration of a latency run.
        warmup_seconds: Warm-up before each latency run.
        cool_below_c: Battery temperature in °C above which a configuration waits.
        cool_seconds: Maximum wait for the phone to cool down.
        profile: Whether to time the operators in an additional run.
        probe: Whether to run a small kernel after each row, to notice a phone that became slower.
        sustain_minutes: Minutes for which each configuration is repeated in addition; 0 = not.
        cores: Cluster that CPU threads run on, or ``fastest``; see `PhoneRecord.big_cores`.
    """

    repeats: int = 5
    runs: int = 50
    min_seconds: float = 1.0
    warmup_seconds: float = 0.5
    cool_below_c: float = 35.0
    cool_seconds: float = 600.0
    profile: bool = True
    probe: bool = True
    cores: str = "fastest"
    sustain_minutes: int = 0
