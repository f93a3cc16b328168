"""The models that are measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mvstylizer.bundle import MANIFEST_NAME, Bundle, default_bundle, load_bundle


def shipped(bundles: Sequence[Path] = ()) -> list[Bundle]:
    """Return the given bundles, or all that ship with the kit, the default one first.

    Raises:
        BundleError: One is no bundle, or the kit's own is missing.
    """
    default = default_bundle()
    beside = sorted(path.parent for path in default.parent.glob(f"*/{MANIFEST_NAME}"))
    return [load_bundle(path) for path in bundles or sorted(beside, key=lambda path: path != default)]
