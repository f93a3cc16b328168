"""Run the kit's command line and record what it took. Runs on the phone.

Usage: python -m device_runtime.bench.on_phone USAGE.json stylize CLIP ...
"""

from __future__ import annotations

import json
import resource
import runpy
import sys
import time
from pathlib import Path


def main() -> None:
    """Run the command, then write its peak memory and CPU time."""
    target, began = Path(sys.argv[1]), time.perf_counter()
    sys.argv = ["mvstylizer", *sys.argv[2:]]
    try:
        runpy.run_module("mvstylizer_cli", run_name="__main__")  # by name: it is the top floor
    finally:
        used = resource.getrusage(resource.RUSAGE_SELF)
        figures = {
            "peak_mb": used.ru_maxrss / 1024,
            "cpu_s": used.ru_utime + used.ru_stime,
            "process_s": time.perf_counter() - began,
        }
        target.write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
