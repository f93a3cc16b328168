"""The folder of bundles that an edge follows, and the newest one that it may serve."""

from __future__ import annotations

import shutil
import tempfile
from collections import deque
from pathlib import Path

from mvstylizer.bundle import MANIFEST_NAME, Bundle, load_bundle
from mvstylizer.errors import MVStylizerError
from mvstylizer.private_folder import PrivateFolder
from mvstylizer.release import copy_release

_KEPT_COPIES = 8  # more than an edge has loaded at a time
_COPY = "copy-"


class ReleaseFolder:
    """Bundles in subfolders of one folder.

    Writers use a name that starts with a dot, which is ignored here, and rename when the bundle is complete.
    A bundle is verified once, and again when one of its files changes, so polling costs no hashing. Of a
    signed bundle, a private copy is verified and returned: a user who can write the folder cannot exchange
    a file between the check and its use, which may be a restart much later.

    Args:
        folder: The folder.
        public_key: Key whose signature a bundle needs, see `mvstylizer.release`; None = no signature needed.
    """

    def __init__(self, folder: Path, public_key: Path | None = None) -> None:
        self._folder = folder
        self._public_key = public_key
        self._verified: dict[object, Bundle | None] = {}  # by stamp; None = refused
        self._copies: PrivateFolder | None = None  # of signed bundles
        self._recent: deque[Path] = deque(maxlen=_KEPT_COPIES)

    def newest(self, first: Bundle) -> tuple[Bundle, list[str]]:
        """Find the highest version.

        Args:
            first: Returned if the folder holds nothing newer.

        Returns:
            The usable bundle with the highest version, and the reason for each bundle newly refused.

        Raises:
            OSError: The folder cannot be read.
        """
        best, reasons, seen = first, [], {}
        for path in sorted(self._folder.iterdir()):
            if path.name.startswith(".") or not (path / MANIFEST_NAME).is_file():
                continue
            stamp = _stamp(path)
            if stamp not in self._verified:
                try:
                    self._verified[stamp] = self._load(path)
                except (MVStylizerError, OSError) as err:  # a file may vanish while it is read
                    self._verified[stamp] = None
                    reasons.append(str(err))
                except Exception as err:  # whatever is wrong with one bundle must not end the edge
                    self._verified[stamp] = None
                    reasons.append(f"{path}: {type(err).__name__}: {err}")
            bundle = seen[stamp] = self._verified[stamp]
            if bundle is not None and bundle.version > best.version:
                best = bundle
        self._verified = seen
        self._remove_old_copies()
        return best, reasons

    def refuse(self, bundle: Bundle) -> None:
        """Ignore a bundle until one of its files changes.

        It is found by the stamp it was loaded with, as its folder may hold another bundle by now.
        """
        self._verified = {
            stamp: None if known == bundle else known for stamp, known in self._verified.items()
        }

    def close(self) -> None:
        """Remove the copies."""
        if self._copies is not None:
            self._copies.delete()
            self._copies = None

    def _load(self, path: Path) -> Bundle:
        if self._public_key is None:
            return load_bundle(path)
        if self._copies is None:
            self._copies = PrivateFolder("mvstylizer-release-")
        copy = Path(tempfile.mkdtemp(prefix=_COPY, dir=self._copies.path))
        bundle = copy_release(path, copy, self._public_key)[1]
        self._recent.append(copy)
        return bundle

    def _remove_old_copies(self) -> None:
        """Remove the copies of refused and of removed bundles."""
        if self._copies is None:
            return
        kept = {bundle.path for bundle in self._verified.values() if bundle} | set(self._recent)
        for copy in set(self._copies.path.glob(f"{_COPY}*")) - kept:
            shutil.rmtree(copy, ignore_errors=True)


def _stamp(bundle: Path) -> object:
    """Return a value that changes when a file of the bundle does."""
    try:
        stats = [(path.name, path.stat()) for path in sorted(bundle.iterdir())]
    except OSError:
        return bundle  # it is being removed
    return bundle, tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in stats)
