"""A child process with limits, for files that nobody vouches for: what they break, they break there.

A damaged or hostile model file can corrupt the heap of its runtime, loop for ever, or ask for all memory.
The child reports one JSON object per line on its standard output.
"""

from __future__ import annotations

import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from mvstylizer.errors import MVStylizerError, printable

MEMORY_BYTES = 6 << 30
_MAX_LINE_BYTES = 1 << 20


class LimitedProcessError(MVStylizerError):
    """A child was ended by a signal, took too long, or failed without a report."""


def limit_this_process(memory_bytes: int = MEMORY_BYTES) -> None:
    """Limit the memory of this process, and leave no core file; for the child, before it loads anything."""
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def reports(module: str, arguments: Sequence[str], *, silence_s: float) -> Iterator[dict[str, Any]]:
    """Run a module in a child, and yield what it reports.

    Args:
        module: Run as ``python -P -m MODULE ARGUMENTS``.
        arguments: Its arguments.
        silence_s: Longest time between two reports, in seconds; then the child is killed.

    Raises:
        LimitedProcessError: It was ended by a signal, was silent for too long, or failed; the message
            continues a sentence whose subject is the file.
    """
    command = [sys.executable, "-P", "-m", module, *arguments]  # -P: nothing from the current folder
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        try:
            errors = yield from _lines(child, silence_s)
        finally:
            child.kill()
        status = child.wait()
    if status < 0 and -status != signal.SIGKILL:
        raise LimitedProcessError(f"ends its runtime ({signal.Signals(-status).name})")
    if status:
        raise LimitedProcessError(f"ends its runtime ({_last_line(errors) or f'status {status}'})")


def _lines(child: subprocess.Popen[bytes], silence_s: float) -> Iterator[dict[str, Any]]:
    """Yield the child's reports until it closes its output; return the end of its errors."""
    assert child.stdout is not None
    assert child.stderr is not None
    waiting, errors = b"", b""
    deadline = time.monotonic() + silence_s
    with selectors.DefaultSelector() as ready:
        ready.register(child.stdout, selectors.EVENT_READ)
        ready.register(child.stderr, selectors.EVENT_READ)
        while ready.get_map():
            for key, _ in ready.select(max(0.0, deadline - time.monotonic())):
                data = os.read(key.fd, 1 << 16)
                if not data:
                    ready.unregister(key.fileobj)
                elif key.fileobj is child.stderr:
                    errors = (errors + data)[-_MAX_LINE_BYTES:]
                else:
                    *whole, waiting = (waiting + data).split(b"\n")
                    for line in whole:
                        yield json.loads(line)
                        deadline = time.monotonic() + silence_s
            if time.monotonic() > deadline:
                raise LimitedProcessError(f"did not finish within {silence_s:g} s")
            if len(waiting) > _MAX_LINE_BYTES:
                raise LimitedProcessError("makes its runtime write without end")
    return errors


def _last_line(errors: bytes) -> str:
    lines = errors.decode(errors="replace").split("\n")
    return printable(next((line for line in reversed(lines) if line.strip()), ""), 200)
