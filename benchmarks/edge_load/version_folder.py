"""A watched folder in which one model is published under increasing versions."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from mvstylizer.bundle import Bundle, load_bundle, write_manifest


class VersionFolder:
    """Publishes versions of a model; the two newest are kept, so that an edge can roll back.

    Args:
        model: The bundle.
        folder: The watched folder.
    """

    def __init__(self, model: Bundle, folder: Path) -> None:
        self.folder = folder
        self.version = model.version
        self._model = model

    def publish(self) -> Bundle:
        """Publish the next version atomically."""
        self.version += 1
        part = self.folder / f".{self.version}.part"
        shutil.copytree(self._model.path, part)
        write_manifest(replace(load_bundle(part), version=self.version))
        part.rename(self._path(self.version))
        shutil.rmtree(self._path(self.version - 2), ignore_errors=True)
        return load_bundle(self._path(self.version))

    def _path(self, version: int) -> Path:
        return self.folder / f"{version:05d}"
