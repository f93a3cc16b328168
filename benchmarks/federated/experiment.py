"""The experiment of Figure 7: federations with 1, 2 and 4 edges, trained in parallel from the same model."""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, get_native_id
from typing import Final

import torch

from benchmarks.data.federation_photos import HOLDOUT, SPOOL, lay_out
from benchmarks.federated.fleet import LocalFleet, Point, Schedule, run_federation, score
from benchmarks.harness.registry import Progress
from fl.gate import Gate
from mvstylizer.errors import MVStylizerError
from training.checkpoint import save_checkpoint
from training.config import StepConfig
from training.look.checkpoint import LOOK_WEIGHTS, load_look
from training.stylizer import StylizerNetwork

EDGES: Final = (1, 2, 4)
SETTINGS: Final = "settings.json"
START: Final = "start.safetensors"


class ExperimentError(MVStylizerError):
    """The work folder contains a run with other settings."""


@dataclass(frozen=True)
class Settings:
    """Settings of the experiment.

    Attributes:
        crop: Side of the training crops and of the hold-out photos, in pixels.
        batch: Images per step; 2 as in the paper.
        learning_rate: Constant learning rate of Adam; 1e-4 as in the paper.
        steps: Local steps per round.
        rounds: Number of rounds with 1, 2 and 4 edges; a single edge needs more to reach its lowest loss.
        contents: Number of hold-out contents.
        styles: Number of hold-out styles.
    """

    crop: int = 48
    batch: int = 2
    learning_rate: float = 1e-4
    steps: int = 100
    rounds: tuple[int, ...] = (17, 6, 6)
    contents: int = 12
    styles: int = 4

    def step_config(self) -> StepConfig:
        """Return the settings of a local training step."""
        return StepConfig(
            batch=self.batch, crop=self.crop, learning_rate=self.learning_rate, mixed=_has_bfloat16()
        )


FULL: Final = Settings()
QUICK: Final = Settings(crop=32, steps=3, rounds=(3, 3, 3), contents=2, styles=2)


def run_curves(
    settings: Settings, work: Path, photos: Path | None, threads: int, progress: Progress
) -> dict[int, list[Point]]:
    """Return the loss curve for each number of edges, starting with the untrained model.

    The federations run in parallel, so that a single edge does not leave cores idle. Its chain of rounds is
    the longest, so it has its own thread and a higher priority than the others.
    """
    _prepare(settings, work, photos)
    schedule = Schedule(work / SPOOL, settings.steps, settings.step_config())
    gate = Gate(work / HOLDOUT, size=settings.crop)
    torch.set_num_threads(1)  # one edge per core is faster than two cores per small step
    first = score(gate, work / START)
    stop = Event()
    with (
        ThreadPoolExecutor(threads, "edge", initializer=_lower_priority) as pool,
        ThreadPoolExecutor(1, "alone") as alone,
        ThreadPoolExecutor(len(EDGES), "cloud") as clouds,
    ):
        running = {
            edges: clouds.submit(
                run_federation,
                work / f"{edges}-edges",
                work / START,
                LocalFleet(edges, schedule, alone if edges == 1 else pool, stop),
                gate,
                rounds=rounds,
                images=schedule.images,
                progress=progress,
            )
            for edges, rounds in zip(EDGES, settings.rounds, strict=True)
        }
        try:
            return {edges: [first, *future.result()] for edges, future in running.items()}
        finally:
            stop.set()  # after Ctrl-C or a failure, stop the others


def _prepare(settings: Settings, work: Path, photos: Path | None) -> None:
    """Prepare photos and the initial model in a new work folder, or check the settings of an existing one."""
    wanted = json.dumps({**asdict(settings), "photos": str(photos)}, sort_keys=True)
    kept = work / SETTINGS
    if kept.is_file():
        if kept.read_text() != wanted:
            raise ExperimentError(f"{work} contains a run with other settings", "Choose another folder")
        return
    lay_out(work, photos, short_side=2 * settings.crop, contents=settings.contents, styles=settings.styles)
    torch.manual_seed(0)
    stylizer = StylizerNetwork()
    stylizer.heads.network.load_state_dict(load_look(LOOK_WEIGHTS).state_dict())
    assert stylizer.local is not None
    # Our decoder starts at the global mapping; the paper's network starts from random weights.
    stylizer.local.decoder.rgb.reset_parameters()
    save_checkpoint(work / START, stylizer, 0, {})
    kept.write_text(wanted)  # last, so that an interrupted preparation is repeated


def _lower_priority() -> None:
    """Lower the priority of this thread; on Linux, priorities are per thread."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, get_native_id(), 10)


def _has_bfloat16() -> bool:
    """Return whether this machine has bfloat16 multiplication; emulation is slower than float32."""
    if torch.cuda.is_available():
        return True
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text().split() if cpuinfo.is_file() else []
    return "avx512_bf16" in flags or "amx_bf16" in flags
