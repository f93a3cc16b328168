"""The child of ``export --check``: ``python -m export.verify_worker BUNDLE``; see `export.verify`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from mvstylizer.limited_process import limit_this_process


def main() -> None:
    """Check a bundle, and write its results on what was the standard output."""
    limit_this_process()
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a runtime prints is not a report

    def write(event: dict[str, Any]) -> None:
        output.write(json.dumps(event) + "\n")
        output.flush()

    from export.verify import write_checks

    write_checks(Path(sys.argv[1]), write)


if __name__ == "__main__":
    main()
