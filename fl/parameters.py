"""A model's parameters as named arrays, and the safetensors files they travel in.

Files are mapped, not read: an average over ten edges touches a block of each at a time, so that memory does
not grow with the number of edges.
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

_HEADER_LENGTH = 8  # bytes of the little-endian length before safetensors' JSON header


class ParametersError(MVStylizerError):
    """Parameters are damaged, not finite, or not those of the model in question."""


def check_parameters(parameters: Parameters, like: Parameters, source: str) -> None:
    """Refuse parameters that are not a finite version of `like`.

    Args:
        parameters: What is to be checked.
        like: Names, shapes and dtypes that are wanted.
        source: Who sent them; the message starts with it.

    Raises:
        ParametersError: A tensor is missing, unknown, of another dtype or shape, or holds NaN or infinity.
    """
    hint = "Restore that edge from the last release"
    missing, unknown = sorted(like.keys() - parameters.keys()), sorted(parameters.keys() - like.keys())
    if missing or unknown:
        raise ParametersError(
            f"{source} sent another architecture: missing {missing}, unknown {unknown}", hint
        )
    for name, wanted in like.items():
        given = parameters[name]
        if given.dtype != wanted.dtype or given.shape != wanted.shape:
            raise ParametersError(
                f"{source} sent {name} as {given.dtype}{list(given.shape)},"
                f" not {wanted.dtype}{list(wanted.shape)}",
                hint,
            )
        bad = given.size - int(np.isfinite(given).sum())
        if bad:
            raise ParametersError(f"{source} sent {name} with {bad} values that are NaN or infinite", hint)


def fingerprint(parameters: Parameters) -> str:
    """Return the SHA-256 over names, dtypes, shapes and values, in the names' order."""
    digest = hashlib.sha256()
    for name in sorted(parameters):
        value = np.ascontiguousarray(parameters[name])
        digest.update(f"{name} {value.dtype} {value.shape}\n".encode())
        digest.update(value.data)
    return digest.hexdigest()


def write_parameters(path: Path, parameters: Parameters, header: Mapping[str, str]) -> None:
    """Write a safetensors file whole and on the disk, or not at all.

    Args:
        path: Its name; the folder is made.
        parameters: Named arrays.
        header: Strings for the file's header; a checkpoint's header makes the file a checkpoint.

    Raises:
        ParametersError: The disk is full, or the folder cannot be written.
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
            f"{path} cannot be written: {err}", "Free space, or name another folder"
        ) from err


def sync_folder(folder: Path) -> None:
    """Put a folder's entries on the disk: without it a power cut may undo a rename."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def map_parameters(path: Path) -> tuple[dict[str, NDArray[np.float32]], dict[str, str]]:
    """Map a safetensors file: read-only arrays over its pages, and its header.

    Raises:
        ParametersError: No such file, a truncated one, or none of float32.
    """
    if not path.is_file():
        raise ParametersError(f"{path} does not exist", "Name a checkpoint")
    try:
        with safe_open(path, framework="np") as stored:  # checks lengths and offsets
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
        raise ParametersError(f"{path} holds {name} as {row['dtype']}, not F32", "Use another checkpoint")
    if math.prod(shape) == 0:  # an empty file region cannot be mapped
        return np.empty(shape, np.float32)
    return np.memmap(path, np.dtype("<f4"), "r", first + offsets[0], tuple(shape))
