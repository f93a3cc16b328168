"""The folder of bundles that an edge follows: which one is the newest that may be served."""

from __future__ import annotations

from pathlib import Path

from mvstylizer.bundle import MANIFEST_NAME, Bundle, load_bundle
from mvstylizer.errors import MVStylizerError
from mvstylizer.release import load_release


class WatchedFolder:
    """Bundles in subfolders, written beside (names with a dot in front are passed over) and renamed.

    Each is verified once, and again when one of its files changes: a look costs no hashing.

    Args:
        folder: Where they lie.
        public_key: Whose signature a bundle needs, see `mvstylizer.release`; None = none.
    """

    def __init__(self, folder: Path, public_key: Path | None = None) -> None:
        self._folder = folder
        self._public_key = public_key
        self._known: dict[object, Bundle | None] = {}  # by stamp; None = refused

    def newest(self, first: Bundle) -> tuple[Bundle, list[str]]:
        """Look at the folder.

        Args:
            first: What is served when the folder holds nothing newer.

        Returns:
            The bundle with the highest version that was not refused, and why each of those was that this look
            refused.

        Raises:
            OSError: The folder cannot be read.
        """
        best, reasons, seen = first, [], {}
        for path in sorted(self._folder.iterdir()):
            if path.name.startswith(".") or not (path / MANIFEST_NAME).is_file():
                continue
            stamp = _stamp(path)
            if stamp not in self._known:
                try:
                    self._known[stamp] = self._load(path)
                except (MVStylizerError, OSError) as err:  # a file may vanish between two looks
                    self._known[stamp] = None
                    reasons.append(str(err))
            bundle = seen[stamp] = self._known[stamp]
            if bundle is not None and bundle.version > best.version:
                best = bundle
        self._known = seen
        return best, reasons

    def refuse(self, bundle: Bundle) -> None:
        """Pass over a bundle from now on, until one of its files changes.

        By the stamp that it was found with: its folder may hold another bundle by now.
        """
        self._known = {stamp: None if known == bundle else known for stamp, known in self._known.items()}

    def _load(self, path: Path) -> Bundle:
        if self._public_key is None:
            return load_bundle(path)
        return load_release(path, self._public_key)[1]


def _stamp(bundle: Path) -> object:
    """Return what changes when a file of a bundle does."""
    try:
        stats = [(path.name, path.stat()) for path in sorted(bundle.iterdir())]
    except OSError:
        return bundle  # it is being taken away
    return bundle, tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in stats)
