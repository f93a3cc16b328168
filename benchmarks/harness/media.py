"""Pictures and clips as parts of a page."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Final

KINDS: Final = {".png": "image/png", ".jpg": "image/jpeg", ".mp4": "video/mp4"}


def data_url(path: Path) -> str:
    """Return a file as a ``data:`` URL (RFC 2397)."""
    return f"data:{KINDS[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"
