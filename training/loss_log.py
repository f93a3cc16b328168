"""The losses of a run: a JSON line a step beside the checkpoint, and TensorBoard events where wanted."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import TracebackType
from typing import Self


class LossLog:
    """Writes ``NAME.log.jsonl`` beside a checkpoint.

    Args:
        checkpoint: The checkpoint; its folder is made.
        start: Step that the run goes on from: what an interrupted run wrote later is dropped.
        tensorboard: Folder of TensorBoard events; None writes none.
    """

    def __init__(self, checkpoint: Path, start: int, tensorboard: Path | None = None) -> None:
        path = log_path(checkpoint)
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = path.read_text().splitlines(keepends=True)[:start] if start and path.is_file() else []
        path.write_text("".join(kept))
        self._lines = path.open("a", buffering=1)  # a line at a time: whoever watches sees each step
        self._events = None
        if tensorboard is not None:
            from torch.utils.tensorboard import SummaryWriter  # loads tensorflow where it is installed

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
    """Return where the losses of a checkpoint's run lie."""
    return checkpoint.with_suffix(".log.jsonl")
