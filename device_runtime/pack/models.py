"""Bundles for a phone: without the files that only a server reads."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Final

from mvstylizer.bundle import load_bundle, write_manifest

_FORMATS: Final = ("tflite", "md")
"""A phone has no ONNX Runtime: its network is TFLite in the lite bundle, or on an edge."""


def copy_for_phone(source: Path, target: Path) -> None:
    """Write a bundle with the TFLite files of another one, and a manifest of them alone.

    Args:
        source: The bundle.
        target: New folder.

    Raises:
        BundleError: `source` is missing or damaged.
    """
    bundle = load_bundle(source)
    target.mkdir(parents=True)
    kept = tuple(spec for spec in bundle.files if spec.format in _FORMATS)
    for spec in kept:
        shutil.copy(bundle.path / spec.path, target / spec.path)
    write_manifest(replace(bundle, path=target, files=kept))
