"""Runs a stranger's models once in a child process with limits, before this process loads them.

A bundle's hashes detect damage on the way, but the author of a bundle writes its hashes too. Bundles that are
installed with mvstylizer are not tried, others only once for each version of their content.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from mvstylizer.bundle import LITE_ROLES, MANIFEST_NAME, Bundle, BundleError, default_bundle, sha256_of
from mvstylizer.limited_process import LimitedProcessError, reports

ROLES = ("style_encoder", "stylizer", *LITE_ROLES, "warp", "transfer", "key_frame")
"""Files that a process on the device loads."""
SILENCE_S = 120.0
_WORKER = "device_runtime.trial_worker"


def try_models(bundle: Bundle, *, silence_s: float = SILENCE_S) -> None:
    """Run the models of a bundle once, unless they are known to be harmless.

    Args:
        bundle: A verified bundle.
        silence_s: Time for one file, in seconds.

    Raises:
        BundleError: A file cannot be loaded, crashes its runtime, or takes too long or too much memory; names
            the file.
    """
    if bundle.path.resolve().parent == default_bundle().parent:
        return
    mark = _cache() / sha256_of(bundle.path / MANIFEST_NAME)
    if mark.exists():
        return
    paths = [bundle.path / spec.path for spec in bundle.files if spec.role in ROLES]
    done = 0
    try:
        for event in reports(_WORKER, [str(bundle.path.resolve())], silence_s=silence_s):
            if event["error"]:
                raise _unusable(paths[done], f"cannot be loaded ({event['error']})")
            done += 1
    except LimitedProcessError as err:
        raise _unusable(paths[min(done, len(paths) - 1)], err.message) from err
    with contextlib.suppress(OSError):  # without a cache it is tried again
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()


def _unusable(path: Path, why: str) -> BundleError:
    return BundleError(f"{path} {why}", "Do not use this bundle: copy or export it again")


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mvstylizer" / "tried"
