"""The ONNX files of a checkpoint from those of another of the same architecture: its graphs, new weights.

Tracing takes a minute or more, and every release of a federation has the architecture of the model that it
began with. Each initializer that is a weight of the old checkpoint, whole or one row of it, takes the new
one's values; all else is constant. Whoever calls this compares the files with PyTorch as those of a trace.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from export.errors import GraphError
from export.onnx_models.file import save_model
from mvstylizer.bundle import Bundle, sha256_of
from training.checkpoint import load_checkpoint
from training.stylizer import StylizerNetwork

PREFIX: Final = "stylizer."  # of a weight's name in a graph, before its name in the checkpoint
HALF: Final = ".half"  # after it, where it is stored in half precision

Weights = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class BaseBundle:
    """An exported model of the same architecture.

    Attributes:
        bundle: Its bundle.
        checkpoint: What that was exported from.
    """

    bundle: Bundle
    checkpoint: Path

    def fits(self, stylizer: StylizerNetwork, precision: str) -> bool:
        """Tell whether the bundle is of that checkpoint, and of a stylizer's architecture and precision."""
        wanted = {**stylizer.dims.as_dict(), "style_code": stylizer.style_code_size, "precision": precision}
        of_it = sha256_of(self.checkpoint) == self.bundle.source.get("sha256")
        return of_it and self.bundle.network == wanted

    def weights(self) -> Weights:
        """Return the old checkpoint's weights."""
        return weights_of(load_checkpoint(self.checkpoint)[0])


def weights_of(stylizer: StylizerNetwork) -> Weights:
    """Return the trainable weights by name."""
    return {name: value.detach().float().numpy() for name, value in stylizer.state_dict().items()}


def refill(
    source: Path, path: Path, before: Weights, after: Weights, metadata: Mapping[str, str]
) -> set[str]:
    """Write an ONNX file with other weights.

    Args:
        source: A file that the kit has exported.
        path: The new one.
        before: Weights of the checkpoint that `source` comes from.
        after: Those to write; the same names and shapes.
        metadata: As for `export.onnx_models.file.save_model`.

    Returns:
        Names of the weights that the graph has, whole. See `check_complete`.

    Raises:
        GraphError: `source` does not hold the weights of `before`, or the result is not valid.
    """
    model = onnx.load(source)
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
    save_model(model, path, "fp32", metadata)  # the weights are as precise as they are there
    return {name for name, rows in found.items() if None in rows or len(rows) == len(before[name])}


def check_complete(found: Iterable[str], weights: Weights) -> None:
    """Refuse graphs in which a weight does not appear as it is: other weights would not reach them.

    Raises:
        GraphError: One is missing.
    """
    if missing := sorted(weights.keys() - set(found)):
        raise GraphError(f"The graphs do not hold {', '.join(missing)} as they are in the checkpoint")


def _place(name: str, values: NDArray[Any], weights: Weights) -> tuple[str, int | None] | None:
    """Return the weight that an initializer is, and which row of it (None: all); None where it is none."""
    plain = name.removeprefix(PREFIX).removesuffix(HALF)
    if plain in weights:
        if not _same(values, weights[plain]):
            raise GraphError(f"{name} has not the values of the checkpoint that it should come from")
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
