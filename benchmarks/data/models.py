"""The models to measure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mvstylizer.bundle import MANIFEST_NAME, Bundle, default_bundle, load_bundle


def shipped(bundles: Sequence[Path] = ()) -> list[Bundle]:
    """Return the given bundles, or all bundled models with the default first.

    Raises:
        BundleError: A folder is not a bundle, or the default model is missing.
    """
    default = default_bundle()
    found = sorted(path.parent for path in default.parent.glob(f"*/{MANIFEST_NAME}"))
    return [load_bundle(path) for path in bundles or sorted(found, key=lambda path: path != default)]
