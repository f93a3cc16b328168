"""The losses of a run: one JSON line per step next to the checkpoint, and optional TensorBoard events."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import TracebackType
from typing import Self


class LossLog:
    """Writes ``NAME.log.jsonl`` next to a checkpoint.

    Args:
        checkpoint: The checkpoint; its folder is created.
        start: Step that the run continues from; later lines of an interrupted run are dropped.
        tensorboard: Folder for TensorBoard events; None writes none.
    """

    def __init__(self, checkpoint: Path, start: int, tensorboard: Path | None = None) -> None:
        path = log_path(checkpoint)
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = path.read_text().splitlines(keepends=True)[:start] if start and path.is_file() else []
        path.write_text("".join(kept))
        self._lines = path.open("a", buffering=1)  # line by line, so that each step shows at once
        self._events = None
        if tensorboard is not None:
            from torch.utils.tensorboard import SummaryWriter  # imports tensorflow if it is installed

            self._events = SummaryWriter(str(tensorboard), purge_step=start + 1)

    def write(self, step: int, losses: dict[str, float]) -> None:
        """Write the losses of a step."""
        self._lines.write(json.dumps({"step": step, "time": round(time.time(), 1), **losses}) + "\n")
        if self._events is not None:
            for name, value in losses.items():
                self._events.add_scalar(f"loss/{name}", value, step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()
        if self._events is not None:
            self._events.close()


def log_path(checkpoint: Path) -> Path:
    """Return the path of a checkpoint's loss log."""
    return checkpoint.with_suffix(".log.jsonl")
