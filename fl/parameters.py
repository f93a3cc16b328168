"""Model parameters as named arrays, and the safetensors files that store them.

Files are memory-mapped: an average over ten edges reads one block of each at a time, so memory does not grow
with the number of edges.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from mvstylizer.errors import MVStylizerError

Parameters = Mapping[str, NDArray[np.float32]]

FROZEN = "heads."
"""Before the names of the look network's weights, which no edge trains, sends or blurs with noise."""

_HEADER_LENGTH = 8  # bytes of the little-endian length before safetensors' JSON header


class ParametersError(MVStylizerError):
    """Parameters are damaged, not finite, or belong to a different model."""


def trained(parameters: Parameters) -> Parameters:
    """Return the parameters that edges train."""
    return {name: value for name, value in parameters.items() if not name.startswith(FROZEN)}


def check_parameters(parameters: Parameters, like: Parameters, source: str) -> None:
    """Check that parameters have the same layout as `like` and are finite.

    Args:
        parameters: Parameters to check.
        like: Expected names, shapes and dtypes.
        source: Name of the sender, for the error message.

    Raises:
        ParametersError: A tensor is missing, unknown, of another dtype or shape, or not finite.
    """
    hint = "Restore that edge from the last release"
    missing, unknown = sorted(like.keys() - parameters.keys()), sorted(parameters.keys() - like.keys())
    if missing or unknown:
        raise ParametersError(
            f"{source} sent a different architecture: missing {missing}, unknown {unknown}", hint
        )
    for name, wanted in like.items():
        given = parameters[name]
        if given.dtype != wanted.dtype or given.shape != wanted.shape:
            raise ParametersError(
                f"{source} sent {name} as {given.dtype}{list(given.shape)}, "
                f"expected {wanted.dtype}{list(wanted.shape)}",
                hint,
            )
        bad = given.size - int(np.isfinite(given).sum())
        if bad:
            raise ParametersError(f"{source} sent {name} with {bad} NaN or infinite values", hint)


def fingerprint(parameters: Parameters) -> str:
    """Return the SHA-256 of names, dtypes, shapes and values, sorted by name."""
    digest = hashlib.sha256()
    for name in sorted(parameters):
        value = np.ascontiguousarray(parameters[name])
        digest.update(f"{name} {value.dtype} {value.shape}\n".encode())
        digest.update(value.data)
    return digest.hexdigest()


def write_parameters(path: Path, parameters: Parameters, header: Mapping[str, str]) -> None:
    """Write a safetensors file atomically and sync it to disk.

    Args:
        path: Path of the file; its folder is created.
        parameters: Named arrays.
        header: Metadata of the file; with a checkpoint's header, the file is a checkpoint.

    Raises:
        ParametersError: The disk is full, or the folder is not writable.
    """
    part = path.with_suffix(path.suffix + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({k: np.ascontiguousarray(v) for k, v in parameters.items()}, part, dict(header))
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        part.replace(path)
        sync_folder(path.parent)
    except (OSError, SafetensorError) as err:
        part.unlink(missing_ok=True)
        raise ParametersError(
            f"Cannot write {path}: {err}", "Free disk space, or choose another folder"
        ) from err


def sync_folder(folder: Path) -> None:
    """Sync a folder's entries to disk; without it, a power failure may undo a rename."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def map_parameters(path: Path) -> tuple[dict[str, NDArray[np.float32]], dict[str, str]]:
    """Memory-map a safetensors file.

    Returns:
        Read-only float32 arrays by name, and the file's metadata.

    Raises:
        ParametersError: The file does not exist, is damaged, or is not float32.
    """
    if not path.is_file():
        raise ParametersError(f"{path} does not exist", "Pass the path of a checkpoint")
    try:
        with safe_open(path, framework="np") as stored:  # validates lengths and offsets
            header = stored.metadata() or {}
    except SafetensorError as err:
        raise ParametersError(f"{path} is damaged: {err}", "Use another checkpoint") from err
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(_HEADER_LENGTH), "little")
        rows = json.loads(stream.read(length))
    rows.pop("__metadata__", None)
    first = _HEADER_LENGTH + length
    return {name: _map(path, first, name, row) for name, row in sorted(rows.items())}, header


def _map(path: Path, first: int, name: str, row: dict[str, object]) -> NDArray[np.float32]:
    shape, offsets = row["shape"], row["data_offsets"]
    assert isinstance(shape, list)
    assert isinstance(offsets, list)
    if row["dtype"] != "F32":
        raise ParametersError(
            f"{path} contains {name} as {row['dtype']}, expected F32", "Use another checkpoint"
        )
    if math.prod(shape) == 0:  # an empty region cannot be mapped
        return np.empty(shape, np.float32)
    return np.memmap(path, np.dtype("<f4"), "r", first + offsets[0], tuple(shape))
