"""A release: a bundle that someone vouches for.

    00003/model.json, *.onnx, *.tflite    the bundle, version 3
    00003/release.json                    what it is made of, and the hash of model.json
    00003/release.sig                     Ed25519 over release.json

The signature covers release.json, that the hash of model.json, and that the hash of every file: one check
covers all. The cloud writes releases (`fl.release`), edges verify them; this is the format that both know.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mvstylizer.bundle import MANIFEST_NAME, Bundle, load_bundle, sha256_of
from mvstylizer.errors import MVStylizerError

RELEASE, SIGNATURE = "release.json", "release.sig"
SCHEMA = "mvstylizer.release/1"


class ReleaseError(MVStylizerError):
    """A release is missing, incomplete, not what it says, not newer than what runs, or does not run."""


@dataclass(frozen=True)
class Release:
    """What release.json says.

    Attributes:
        version: From 1; the bundle's and Triton's version.
        parents: Versions that it was made from.
        turn: The round whose average it is; 0 = the federation's start.
        checkpoint_sha256: Of the checkpoint file.
        bundle_sha256: Of the bundle's model.json.
        metrics: The gate's scores.
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
    """Verify a release from its signature down to every file's hash.

    Args:
        folder: A version's folder.
        public_key: The trusted key.
        newer_than: The version that runs: an older one, though signed, is a replay.

    Raises:
        SignatureError: Not signed by the key's owner.
        ReleaseError: Incomplete, not what it says, or not newer.
        BundleError: A file is missing or its hash differs.
    """
    from mvstylizer.signature import verify  # an edge without a key needs no cryptography

    try:
        body, signature = (folder / RELEASE).read_bytes(), (folder / SIGNATURE).read_bytes()
    except OSError as err:
        raise ReleaseError(f"{folder} is no signed release: {err}", "Copy the whole folder again") from err
    verify(public_key, body, signature, str(folder / RELEASE))
    release = _release_from(folder / RELEASE, body)
    if release.version <= newer_than:
        raise ReleaseError(
            f"{folder} is version {release.version}, not newer than {newer_than}, which runs already",
            "To go back, publish the older checkpoint again as a new version",
        )
    manifest = folder / MANIFEST_NAME
    known = manifest.is_file() and sha256_of(manifest) == release.bundle_sha256
    bundle = load_bundle(folder) if known else None
    if bundle is None or bundle.version != release.version:
        raise ReleaseError(f"{manifest} is not the released one", "Copy the folder again")
    return release, bundle


def _release_from(path: Path, body: bytes) -> Release:
    fields = json.loads(body)
    if fields.pop("schema") != SCHEMA:
        raise ReleaseError(f"{path} is of another format", f"This version reads {SCHEMA}")
    return Release(**{**fields, "parents": tuple(fields["parents"])})
