"""Results of slow steps of an export, kept between exports under a hash of all that they depend on.

Kernels depend on no checkpoint and traced graphs on its architecture alone, so the next export of a
checkpoint reuses both. A key covers the kit's own code, the converters' versions, and this processor, so an
update or another machine starts anew. Entries are verified when they are read; a damaged one is made again.
The cache holds at most `MAX_BYTES`; the entries that were not used for the longest time are dropped first.

Example:
    cache = Cache()
    key = cache.key("kernel", kernel.role)
    if (files := cache.get(key)) is None:
        cache.put(key, files := {"kernel.tflite": kernel.build()})
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from export.machine import machine, tools

MAX_BYTES: Final = 512 << 20
_INDEX: Final = "entry.json"
_CODE: Final = ("export", "training", "mvstylizer")


def cache_folder() -> Path:
    """Return the folder of the cache, in the user's cache (``XDG_CACHE_HOME``)."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "mvstylizer" / "export"


class Cache:
    """Folders of files by key; a cache that cannot be written keeps nothing, and no step fails because of it.

    Args:
        folder: Where the entries are; created on first use. None takes `cache_folder`.
        max_bytes: Size of all entries.
    """

    def __init__(self, folder: Path | None = None, *, max_bytes: int = MAX_BYTES) -> None:
        self._folder = folder or cache_folder()
        self._max_bytes = max_bytes

    @staticmethod
    def key(*parts: object) -> str:
        """Return the key of a result: a hash of its parts' text, the kit's code, the converters, the CPU."""
        whole = repr((*parts, _code_digest(), sorted(tools().items()), machine()["cpu"]))
        return hashlib.sha256(whole.encode()).hexdigest()

    def get(self, key: str) -> dict[str, bytes] | None:
        """Return the files of an entry by name, None if there is no intact one."""
        entry = self._folder / key
        try:
            index = json.loads((entry / _INDEX).read_text())
            files = {name: (entry / name).read_bytes() for name in index}
            if any(hashlib.sha256(files[name]).hexdigest() != digest for name, digest in index.items()):
                return None
            os.utime(entry)
        except (OSError, ValueError, AttributeError):
            return None
        return files

    def put(self, key: str, files: Mapping[str, bytes]) -> None:
        """Keep the files of an entry and drop the oldest entries beyond the limit."""
        part: Path | None = None
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            part = Path(tempfile.mkdtemp(prefix=".part-", dir=self._folder))
            for name, content in files.items():
                (part / name).write_bytes(content)
            index = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
            (part / _INDEX).write_text(json.dumps(index))
            shutil.rmtree(self._folder / key, ignore_errors=True)
            part.rename(self._folder / key)  # fails if another process was faster, whose entry is as good
            self._prune()
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)

    def _prune(self) -> None:
        entries = [path for path in self._folder.iterdir() if (path / _INDEX).is_file()]
        left = self._max_bytes
        for entry in sorted(entries, key=lambda path: path.stat().st_mtime, reverse=True):
            left -= sum(path.stat().st_size for path in entry.iterdir())
            if left < 0:
                shutil.rmtree(entry, ignore_errors=True)


@cache
def _code_digest() -> str:
    """Return a hash of the code that decides what is in a file."""
    root, digest = Path(__file__).resolve().parents[1], hashlib.sha256()
    for folder in _CODE:
        for path in sorted((root / folder).rglob("*.py")):
            digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()
