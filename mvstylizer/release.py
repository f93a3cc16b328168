"""A release: a signed bundle.

    00003/model.json, *.onnx, *.tflite    the bundle, version 3
    00003/release.json                    its origin, and the hash of model.json
    00003/release.sig                     Ed25519 over release.json

The signature covers release.json, which contains the hash of model.json, which contains the hash of every
file. The cloud writes releases (`fl.release`), edges verify them; this module is the format that they share.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mvstylizer.bundle import MANIFEST_NAME, MAX_MANIFEST_BYTES, Bundle, read_manifest, sha256_of
from mvstylizer.errors import MVStylizerError
from mvstylizer.regular_file import copy_regular, odd_entries, read_regular

RELEASE, SIGNATURE = "release.json", "release.sig"
SCHEMA = "mvstylizer.release/1"


class ReleaseError(MVStylizerError):
    """A release is missing, incomplete, altered, not newer than the running version, or does not run."""


@dataclass(frozen=True)
class Release:
    """Content of release.json.

    Attributes:
        version: Version of the bundle, and of the models in Triton; from 1.
        parents: Versions from which it was made.
        turn: Federation round that produced it; 0 = the start.
        checkpoint_sha256: SHA-256 of the checkpoint file.
        bundle_sha256: SHA-256 of the bundle's model.json.
        metrics: Scores from the gate.
        created: Seconds since 1970.
    """

    version: int
    parents: tuple[int, ...]
    turn: int
    checkpoint_sha256: str
    bundle_sha256: str
    metrics: dict[str, Any]
    created: float


def load_release(folder: Path, public_key: Path, *, newer_than: int = 0) -> tuple[Release, Bundle]:
    """Verify a release that nobody else can change, from its signature to the hash of every file.

    Args:
        folder: Folder of the version.
        public_key: File of the trusted public key (PEM).
        newer_than: The running version; an older release is a replay, even if it is signed.

    Raises:
        SignatureError: The signature does not match the key.
        ReleaseError: The release is incomplete, altered or not newer, or contains a FIFO, device or link.
        BundleError: A file is missing or its hash differs.
    """
    check_entries(folder)
    release, bundle = _signed(folder, public_key, newer_than)
    bundle.verify()
    return release, bundle


def copy_release(folder: Path, out: Path, public_key: Path, *, newer_than: int = 0) -> tuple[Release, Bundle]:
    """Copy a release from a folder that others can write, and verify the copy.

    What is verified is what is loaded, even if the folder is changed meanwhile. Only the files that the
    signed manifest names are copied, up to the sizes that it names.

    Args:
        folder: Folder of the version.
        out: Empty folder that only this user can write.
        public_key: File of the trusted public key (PEM).
        newer_than: See `load_release`.

    Returns:
        The release, and the copy as a bundle.

    Raises:
        SignatureError, ReleaseError, BundleError: See `load_release`; or it cannot be copied.
    """
    check_entries(folder)
    try:
        for name in (RELEASE, SIGNATURE, MANIFEST_NAME):
            copy_regular(folder / name, out / name, MAX_MANIFEST_BYTES)
        _, bundle = _signed(out, public_key, newer_than)
        for path, size in {spec.path: spec.bytes for spec in bundle.files}.items():
            copy_regular(folder / path, out / path, size)
    except OSError as err:
        raise ReleaseError(f"Cannot copy {folder}: {err}", "Copy the whole folder again") from err
    return load_release(out, public_key, newer_than=newer_than)


def check_entries(folder: Path) -> None:
    """Check that a release contains nothing but regular files.

    Raises:
        ReleaseError: It contains a FIFO, device, link or folder, or cannot be read.
    """
    try:
        odd = odd_entries(folder)
    except OSError as err:
        raise ReleaseError(f"Cannot read {folder}: {err}", "Copy the whole folder again") from err
    if odd:
        raise ReleaseError(
            f"{folder / odd[0]} is not a regular file", "Copy the folder again, without links and FIFOs"
        )


def _signed(folder: Path, public_key: Path, newer_than: int) -> tuple[Release, Bundle]:
    """Verify signature and manifest, but not the files that the manifest names."""
    from mvstylizer.signature import verify  # without a key an edge needs no cryptography package

    try:
        body, signature = (read_regular(folder / name, MAX_MANIFEST_BYTES) for name in (RELEASE, SIGNATURE))
    except OSError as err:
        raise ReleaseError(f"{folder} is not a signed release: {err}", "Copy the whole folder again") from err
    verify(public_key, body, signature, str(folder / RELEASE))
    release = _release_from(folder / RELEASE, body)
    if release.version <= newer_than:
        raise ReleaseError(
            f"{folder} is version {release.version}, not newer than the running version {newer_than}",
            "To return to an older checkpoint, publish it as a new version",
        )
    manifest = folder / MANIFEST_NAME
    known = manifest.is_file() and sha256_of(manifest) == release.bundle_sha256
    bundle = read_manifest(folder) if known else None
    if bundle is None or bundle.version != release.version:
        raise ReleaseError(f"{manifest} differs from the signed one", "Copy the folder again")
    return release, bundle


def _release_from(path: Path, body: bytes) -> Release:
    fields = json.loads(body)
    found = fields.pop("schema", "(none)")
    if found != SCHEMA:
        raise ReleaseError(
            f"{path} has the format {found}, not {SCHEMA}",
            "Update mvstylizer here, or publish the release again",
        )
    return Release(**{**fields, "parents": tuple(fields["parents"])})
