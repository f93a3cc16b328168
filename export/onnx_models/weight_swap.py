"""Write the ONNX files of a checkpoint by replacing the weights in those of the same architecture.

Tracing takes a minute or more, and every release of a federation has the architecture of its first model.
Each initializer that is a weight of the old checkpoint, or one row of a weight, takes the new values;
everything else is constant. The caller compares the files with PyTorch, like traced ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

from export.adapter import Adapter, adapted
from export.errors import GraphError
from export.onnx_models.file import save_model
from mvstylizer.bundle import Bundle, sha256_of
from training.checkpoint import load_checkpoint

PREFIX: Final = "stylizer."  # before a weight's name in a graph
ADAPTER: Final = "module."  # follows it, except in bundles of older versions
HALF: Final = ".half"  # after the name of a weight in half precision

TRACED: Final = ("style_encoder", "stylizer")  # the map is cut out of the stylizer

Weights = Mapping[str, NDArray[np.float32]]


class Graphs(NamedTuple):
    """Traced graphs that can take other weights.

    Attributes:
        files: Content of the file of each role of `TRACED`.
        weights: The weights that they contain.
    """

    files: Mapping[str, bytes]
    weights: Weights


@dataclass(frozen=True)
class BaseBundle:
    """An exported model whose graphs can take the weights of another checkpoint.

    Attributes:
        bundle: The exported model.
        checkpoint: The checkpoint that it was exported from.
    """

    bundle: Bundle
    checkpoint: Path

    def fits(self, stylizer: nn.Module, precision: str) -> bool:
        """Return whether the bundle has a stylizer's architecture and precision, and is of its checkpoint."""
        own = sha256_of(self.checkpoint) == self.bundle.source.get("sha256")
        return own and self.bundle.network == network_row(stylizer, precision)

    def graphs(self) -> Graphs:
        """Return the traced files, and the weights of the checkpoint, which they contain."""
        files = {role: self.bundle.file(role).read_bytes() for role in TRACED}
        return Graphs(files, weights_of(load_checkpoint(self.checkpoint)[0]))


def network_row(stylizer: nn.Module, precision: str) -> dict[str, Any]:
    """Return the manifest's row of a stylizer: dimensions, length of the style code, precision."""
    return adapted(stylizer).row(precision)


def weights_of(stylizer: nn.Module) -> Weights:
    """Return the weights by name, those of the stylizer itself if it has the kit's finish around it."""
    module = stylizer.module if isinstance(stylizer, Adapter) else stylizer
    return {name: value.detach().float().numpy() for name, value in module.state_dict().items()}


def digest_of(weights: Weights) -> str:
    """Return the SHA-256 of weights, hexadecimal."""
    digest = hashlib.sha256()
    for name, values in sorted(weights.items()):
        digest.update(f"{name} {values.shape}\0".encode() + np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def refill(
    source: bytes, path: Path, before: Weights, after: Weights, metadata: Mapping[str, str]
) -> set[str]:
    """Write an ONNX file with other weights.

    Args:
        source: Content of an exported file.
        path: The new file.
        before: Weights of the checkpoint that `source` was exported from.
        after: Weights to write; same names and shapes.
        metadata: As for `export.onnx_models.file.save_model`.

    Returns:
        Names of the weights that are completely in the graph; see `check_complete`.

    Raises:
        GraphError: `source` does not contain the weights of `before`, or the result is not valid.
    """
    model = onnx.load_from_string(source)
    found: dict[str, set[int | None]] = {}
    for initializer in model.graph.initializer:
        values = numpy_helper.to_array(initializer)
        place = _place(initializer.name, values, before)
        if place is None:
            continue
        name, row = place
        new = after[name] if row is None else after[name][row]
        initializer.CopyFrom(numpy_helper.from_array(new.astype(values.dtype), initializer.name))
        found.setdefault(name, set()).add(row)
    save_model(model, path, "fp32", metadata)  # leaves the weights as they are
    return {name for name, rows in found.items() if None in rows or len(rows) == len(before[name])}


def check_complete(found: Iterable[str], weights: Weights) -> None:
    """Reject graphs that lack a weight, for example because it was folded into a constant.

    Raises:
        GraphError: A weight is missing.
    """
    if missing := sorted(weights.keys() - set(found)):
        raise GraphError(f"The graphs do not contain {', '.join(missing)} of the checkpoint unchanged")


def _place(name: str, values: NDArray[Any], weights: Weights) -> tuple[str, int | None] | None:
    """Return name and row of the weight that an initializer is (row None: all of it), else None."""
    plain = name.removeprefix(PREFIX).removeprefix(ADAPTER).removesuffix(HALF)
    if plain in weights:
        if not _same(values, weights[plain]):
            raise GraphError(f"{name} differs from the checkpoint that the file was exported from")
        return plain, None
    if not np.issubdtype(values.dtype, np.floating) or values.size < 2:
        return None
    for weight, whole in weights.items():
        for row, part in enumerate(whole if whole.ndim > 1 and whole.shape[1:] == values.shape else ()):
            if _same(values, part):
                return weight, row
    return None


def _same(values: NDArray[Any], weight: NDArray[np.float32]) -> bool:
    return values.shape == weight.shape and np.array_equal(values, weight.astype(values.dtype))
