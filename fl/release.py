"""Releases: an accepted checkpoint, exported with parity, described, signed and numbered.

The cloud's registry holds one folder a version (`mvstylizer.release` has the format), an edge's folder of
releases the same ones. A folder appears in either whole or not at all.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fl.parameters import sync_folder
from fl.signing import sign
from mvstylizer.bundle import MANIFEST_NAME, load_bundle, sha256_of
from mvstylizer.release import RELEASE, SCHEMA, SIGNATURE, Release, ReleaseError, load_release

if TYPE_CHECKING:
    from export.onnx_models.weight_swap import BaseBundle

REGISTRY, RELEASES = "registry", "releases"  # in the cloud's folder, in an edge's


def publish(
    checkpoint: Path,
    registry: Path,
    private_key: Path,
    *,
    turn: int,
    metrics: Mapping[str, Any],
    after: int = 0,
    base_bundle: BaseBundle | None = None,
) -> Release:
    """Export a checkpoint and add it to the registry as the next version.

    Args:
        checkpoint: An accepted model.
        registry: The registry's folder.
        private_key: The cloud's release key.
        turn: The round whose average it is.
        metrics: The gate's scores.
        after: Version that the edges came with: the first release is the next one, its child.
        base_bundle: The model that the federation began with, exported; see `export.exporter.export_bundle`.

    Raises:
        ParityError, CheckpointError, BundleError: The export failed; the registry is as it was.
        SignatureError: The key is missing.
    """
    from export.exporter import export_bundle

    before = versions(registry)
    parent = max(before, default=after)
    version = parent + 1
    registry.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".part.", dir=registry))
    try:
        folder = part / "bundle"
        # Kernels for accelerators depend on no checkpoint: phones have them, and edges need none.
        export_bundle(checkpoint, folder, version=version, sizes=(), base_bundle=base_bundle)
        release = Release(
            version,
            (parent,) if parent else (),
            turn,
            sha256_of(checkpoint),
            sha256_of(folder / MANIFEST_NAME),
            dict(metrics),
            round(time.time(), 3),
        )
        seal(folder, release, private_key)
        folder.rename(registry / f"{version:05d}")
        sync_folder(registry)
    finally:
        shutil.rmtree(part)
    return release


def seal(folder: Path, release: Release, private_key: Path) -> None:
    """Write release.json and its signature into a bundle's folder.

    Raises:
        SignatureError: The key is missing.
    """
    body = json.dumps({"schema": SCHEMA, **asdict(release)}, indent=2).encode() + b"\n"
    (folder / RELEASE).write_bytes(body)
    (folder / SIGNATURE).write_bytes(sign(private_key, body))


def versions(registry: Path) -> list[int]:
    """Return the versions in a registry, oldest first."""
    return sorted(int(path.parent.name) for path in registry.glob(f"[0-9]*/{RELEASE}"))


def install(files: Iterable[tuple[str, bytes]], releases: Path, public_key: Path) -> Path:
    """Add a release to an edge's folder of bundles, the one that `mvstylizer serve --watch` follows.

    It is verified first and appears whole. The one before stays for a rollback, older ones go.

    Args:
        files: Names and contents, as they come from the cloud.
        releases: The edge's folder; made when it is not there.
        public_key: The trusted key.

    Returns:
        The release's folder, a bundle.

    Raises:
        SignatureError, ReleaseError, BundleError: As `load_release`, no newer release than those that are
            there, or the disk is full; the folder is as it was.
    """
    before = versions(releases)
    try:
        releases.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".part.", dir=releases) as part:
            new = Path(part) / "new"
            new.mkdir()
            for name, content in files:
                if Path(name).name != name:
                    raise ReleaseError(f"The release names a file {name!r}", "Do not use it")
                (new / name).write_bytes(content)
            version = load_release(new, public_key, newer_than=max(before, default=0))[0].version
            folder = releases / f"{version:05d}"
            new.rename(folder)
        sync_folder(releases)
    except OSError as err:
        raise ReleaseError(f"{releases} cannot be written: {err}", "Free space on the disk") from err
    for old in before[:-1]:
        withdraw(releases, old)
    return folder


def withdraw(releases: Path, version: int) -> None:
    """Take a version out of an edge's folder in one step: its gateway goes back to the one before."""
    with tempfile.TemporaryDirectory(prefix=".old.", dir=releases) as old:
        (releases / f"{version:05d}").rename(Path(old) / "bundle")


def newest(releases: Path) -> Path | None:
    """Return the folder of the highest version, None where there is none."""
    present = versions(releases)
    return releases / f"{present[-1]:05d}" if present else None


def is_newest(files: Iterable[tuple[str, bytes]], releases: Path) -> bool:
    """Tell whether the newest is this very release: the same signature, and every file untouched."""
    folder = newest(releases)
    if folder is None or dict(files).get(SIGNATURE) != (folder / SIGNATURE).read_bytes():
        return False
    bundle = load_bundle(folder)
    return all(bundle.file(spec.role).is_file() for spec in bundle.files)


def release_files(registry: Path, version: int | None = None) -> list[tuple[str, bytes]]:
    """Return names and contents of a version's files; the last version's by default.

    Raises:
        ReleaseError: The registry has no such version.
    """
    present = versions(registry)
    if not present or (version is not None and version not in present):
        raise ReleaseError(f"{registry} has the versions {present}", "Run a round first, or name one of them")
    folder = registry / f"{version or present[-1]:05d}"
    return [(path.name, path.read_bytes()) for path in sorted(folder.iterdir())]
