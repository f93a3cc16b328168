"""An attacker in its own process, for as long as a block runs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_SECONDS: Final = 86_400.0


@contextmanager
def attacking(address: str, token: str, code: int) -> Iterator[None]:
    """Run every attack in turn until the block ends.

    Args:
        address: The edge.
        token: The attacker's valid token.
        code: Length of a style code.
    """
    command = [sys.executable, "-m", "benchmarks.edge_load.attacks", "mixed", address, token]
    command += ["--code", str(code), "--seconds", str(_SECONDS)]
    with subprocess.Popen(command) as process:
        try:
            yield
        finally:
            process.kill()
