"""Releases: export an accepted checkpoint with parity checks, describe, sign and number it.

The cloud's registry and an edge's releases have one folder per version; `mvstylizer.release` defines the
format. Folders appear atomically.
"""

from __future__ import annotations

import json
import re
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
from mvstylizer.errors import printable
from mvstylizer.regular_file import read_regular
from mvstylizer.release import (
    RELEASE,
    SCHEMA,
    SIGNATURE,
    Release,
    ReleaseError,
    check_entries,
    load_release,
)

if TYPE_CHECKING:
    from export.onnx_models.weight_swap import BaseBundle

REGISTRY, RELEASES = "registry", "releases"  # in the cloud folder, in an edge folder
MAX_FILE_BYTES = 1 << 30

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def publish(
    checkpoint: Path,
    registry: Path,
    private_key: Path,
    *,
    server_round: int,
    metrics: Mapping[str, Any],
    after: int = 0,
    base_bundle: BaseBundle | None = None,
) -> Release:
    """Export a checkpoint and add it to the registry as the next version.

    Args:
        checkpoint: An accepted model.
        registry: Folder of the registry.
        private_key: The cloud's release key.
        server_round: Round that produced the checkpoint.
        metrics: Scores of the gate.
        after: Version that the edges were installed with; the first release is its successor.
        base_bundle: The exported initial model of the federation; see `export.exporter.export_bundle`.

    Raises:
        ParityError, CheckpointError, BundleError: The export failed; the registry is unchanged.
        SignatureError: The key is missing.
    """
    from export.exporter import export_bundle

    parent = max(versions(registry), default=after)
    version = parent + 1
    registry.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".part.", dir=registry))
    try:
        folder = part / "bundle"
        # Kernels for accelerators do not depend on the checkpoint: phones already have them, edges need none.
        export_bundle(checkpoint, folder, version=version, sizes=(), base_bundle=base_bundle)
        release = Release(
            version,
            (parent,) if parent else (),
            server_round,
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
    """Write release.json and its signature into a bundle.

    Raises:
        SignatureError: The key is missing.
    """
    body = json.dumps({"schema": SCHEMA, **asdict(release)}, indent=2).encode() + b"\n"
    (folder / RELEASE).write_bytes(body)
    (folder / SIGNATURE).write_bytes(sign(private_key, body))


def versions(registry: Path) -> list[int]:
    """Return the versions of a registry, oldest first."""
    return sorted(int(path.parent.name) for path in registry.glob(f"[0-9]*/{RELEASE}"))


def install(files: Iterable[tuple[str, bytes]], releases: Path, public_key: Path) -> Path:
    """Verify a release and add it to an edge's releases, which `mvstylizer serve --watch` follows.

    The folder appears atomically. The previous release is kept for a rollback; older ones are deleted.

    Args:
        files: File names and contents, as sent by the cloud.
        releases: The edge's folder of releases; created if missing.
        public_key: The trusted key.

    Returns:
        The folder of the release, which is a bundle.

    Raises:
        SignatureError, ReleaseError, BundleError: Verification failed (see `load_release`), the release is
            not newer than the installed ones, or the disk is full; the folder is unchanged.
    """
    installed = versions(releases)
    try:
        releases.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".part.", dir=releases) as part:
            new = Path(part) / "new"
            new.mkdir()
            for name, content in files:
                if _FILE_NAME.fullmatch(name) is None:
                    raise ReleaseError(
                        f"The release contains the unsafe file name {printable(name, 80)!r}", "Do not use it"
                    )
                (new / name).write_bytes(content)
            version = load_release(new, public_key, newer_than=max(installed, default=0))[0].version
            folder = releases / f"{version:05d}"
            new.rename(folder)
        sync_folder(releases)
    except OSError as err:
        raise ReleaseError(f"Cannot write {releases}: {err}", "Free disk space") from err
    for old in installed[:-1]:
        withdraw(releases, old)
    return folder


def withdraw(releases: Path, version: int) -> None:
    """Remove a version from an edge's releases atomically; its gateway returns to the previous one."""
    with tempfile.TemporaryDirectory(prefix=".old.", dir=releases) as old:
        (releases / f"{version:05d}").rename(Path(old) / "bundle")


def newest(releases: Path) -> Path | None:
    """Return the folder of the highest version, or None."""
    present = versions(releases)
    return releases / f"{present[-1]:05d}" if present else None


def is_newest(files: Iterable[tuple[str, bytes]], releases: Path) -> bool:
    """Return whether the newest release has the same signature and all of its files are intact."""
    folder = newest(releases)
    if folder is None or dict(files).get(SIGNATURE) != (folder / SIGNATURE).read_bytes():
        return False
    bundle = load_bundle(folder)
    return all(bundle.file(spec.role).is_file() for spec in bundle.files)


def release_files(registry: Path, version: int | None = None) -> list[tuple[str, bytes]]:
    """Return the names and contents of a version's files; defaults to the last version.

    Raises:
        ReleaseError: The registry does not contain the version, or a file of it is not a regular one.
    """
    present = versions(registry)
    if not present:
        raise ReleaseError(f"{registry} contains no release", "Run a round first")
    if version is not None and version not in present:
        raise ReleaseError(f"{registry} contains no version {version}", f"Choose one of {present}")
    folder = registry / f"{version or present[-1]:05d}"
    check_entries(folder)
    try:
        return [(path.name, read_regular(path, MAX_FILE_BYTES)) for path in sorted(folder.iterdir())]
    except OSError as err:
        raise ReleaseError(f"Cannot read {folder}: {err}", "Copy the whole folder again") from err
