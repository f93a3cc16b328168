"""Read ``.cube`` files (Adobe's format 1.0): 3D LUTs."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mvstylizer.errors import MVStylizerError

MIN_NODES: Final = 2
MAX_NODES: Final = 256
MAX_BYTES: Final = 1 << 30
DOMAIN: Final = {"DOMAIN_MIN": 0, "DOMAIN_MAX": 1}
HINT: Final = "Choose a 3D LUT in the .cube format"


class CubeError(MVStylizerError):
    """Error raised for a file that is not a 3D LUT."""


def read_cube(path: Path) -> NDArray[np.float32]:
    """Read a 3D LUT.

    Args:
        path: The file, with the suffix .cube.

    Returns:
        float32 (n, n, n, 3), RGB at [blue, green, red]; inputs span 0 to 1.

    Raises:
        CubeError: The file cannot be read or is not a 3D LUT, or its inputs do not span 0 to 1.
    """
    nodes, values = 0, list[list[float]]()
    for number, line in enumerate(_lines(path), 1):
        words = line.partition("#")[0].split()
        if not words or words[0] == "TITLE":
            continue
        if words[0] == "LUT_3D_SIZE":
            nodes = _size(path, words)
        elif words[0] == "LUT_1D_SIZE":
            raise CubeError(f"{path} is a 1D LUT", HINT)
        elif words[0] in DOMAIN:
            _check_domain(path, words)
        elif not words[0].startswith("LUT_"):
            values.append(_row(path, number, words, nodes))
    if not nodes:
        raise CubeError(f"{path} is not a LUT: it has no LUT_3D_SIZE", HINT)
    if len(values) != nodes**3:
        raise CubeError(f"{path} has {len(values)} colors instead of {nodes}³ = {nodes**3}", HINT)
    lut = np.array(values, np.float32).reshape(nodes, nodes, nodes, 3)
    if not np.isfinite(lut).all():
        raise CubeError(f"{path} has colors that are not finite", HINT)
    return lut


def _lines(path: Path) -> list[str]:
    if path.suffix.lower() != ".cube":
        raise CubeError(f"{path} does not have the suffix .cube", HINT)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CubeError(f"{path} is larger than {MAX_BYTES >> 20} MB", HINT)
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise CubeError(f"The LUT {path} cannot be read ({error.strerror})", "Check the path") from error


def _size(path: Path, words: list[str]) -> int:
    size = int(words[1]) if len(words) == 2 and words[1].isdecimal() else 0
    if not MIN_NODES <= size <= MAX_NODES:
        raise CubeError(f"{path}: {' '.join(words)[:40]} is not a size from {MIN_NODES} to {MAX_NODES}", HINT)
    return size


def _check_domain(path: Path, words: list[str]) -> None:
    wanted = [DOMAIN[words[0]]] * 3
    try:
        given = [float(word) for word in words[1:]]
    except ValueError:
        given = []
    if given != wanted:
        raise CubeError(f"{path}: {' '.join(words)[:60]}: only inputs from 0 to 1 are supported", HINT)


def _row(path: Path, number: int, words: list[str], nodes: int) -> list[float]:
    try:
        row = [float(word) for word in words]
    except ValueError:
        row = []
    if len(row) != 3 or not nodes:
        raise CubeError(f"{path} is not a LUT: line {number} is not a color", HINT)
    return row
