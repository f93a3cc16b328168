"""Eight-bit convolutions in ``stylizer.onnx`` (QDQ), with a gate: a bound of PSNR against single precision.

Photos give the ranges of activations (min and max); others judge. Where all convolutions in eight bits miss
the bound, those that cost most are kept in floating point, one after the other, until it is met. If too many
would have to stay, the precision is refused with its figures and the names of the layers.

Weights have seven bits: without VNNI, x86 processors add products of eight bits with saturation, and a file
must compute the same everywhere.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx

from export.precision_judge import Inputs, Judge, Photos, PrecisionError, PrecisionRow, psnr

MIN_PSNR: Final = 38.0
MIN_QUANTIZED: Final = 0.5
"""Share of the convolutions' weights that must be quantized; with fewer, the file is not worth its losses."""
_NAMED: Final = 3  # layers in a message


@dataclass(frozen=True)
class Quantization:
    """A request for eight-bit convolutions.

    Attributes:
        calibrate: Folder of photos.
        min_psnr: The bound, in dB.
        required: False falls back to half precision where eight bits miss the bound or save no time.
    """

    calibrate: Path
    min_psnr: float = MIN_PSNR
    required: bool = True


def quantized(
    fp32: bytes, photos: Photos, judge: Judge, min_psnr: float = MIN_PSNR
) -> tuple[bytes, PrecisionRow]:
    """Return ``stylizer.onnx`` with as many convolutions in eight bits as the bound allows.

    Args:
        fp32: Content of the file in single precision.
        photos: Calibrate the ranges of activations.
        judge: Compares with `fp32`.
        min_psnr: The bound, in dB.

    Returns:
        The file and its figures.

    Raises:
        PrecisionError: The file misses the bound with half of the weights quantized; names the figures and
            the layers that cost most.
    """
    quantizer = _Quantizer(fp32, photos)
    costs = {name: judge.error(quantizer.with_layers([name]), photos=2) for name in quantizer.layers}
    if not costs:
        raise PrecisionError("The stylizer has no convolutions to quantize", "Use --precision fp16")
    worst_first = sorted(costs, key=lambda name: costs[name], reverse=True)
    everything = judge.row("int8", quantizer.with_layers(quantizer.layers))
    if everything.psnr >= min_psnr:
        return quantizer.with_layers(quantizer.layers), everything
    budget = 255.0**2 / 10 ** (min_psnr / 10)
    kept = _kept_at_first(costs, worst_first, budget)
    while quantizer.share(rest := [name for name in quantizer.layers if name not in kept]) >= MIN_QUANTIZED:
        content = quantizer.with_layers(rest)
        row = judge.row("int8", content, kept)
        if row.psnr >= min_psnr:
            return content, row
        kept.append(worst_first[len(kept)])
    named = ", ".join(f"{name} ({psnr(costs[name]):.1f} dB alone)" for name in worst_first[:_NAMED])
    raise PrecisionError(
        f"int8 reaches {everything.psnr:.1f} dB, not {min_psnr:g} (differences up to {everything.max:.0f}),"
        f" and half of the weights would have to stay in floating point; most costly are {named}",
        "Use --precision fp16, or accept less with --min-psnr",
    )


def _kept_at_first(costs: Mapping[str, float], worst_first: Sequence[str], budget: float) -> list[str]:
    """Return the worst layers whose removal brings the sum of errors, if they add up, within the budget."""
    left = sum(costs.values())
    for count, name in enumerate(worst_first, 1):
        left -= costs[name]
        if left <= budget:
            return list(worst_first[:count])
    return list(worst_first)


class _Quantizer:
    """Quantizes chosen convolutions with ranges that are measured once."""

    def __init__(self, fp32: bytes, photos: Photos) -> None:
        from onnxruntime.quantization import CalibrationMethod
        from onnxruntime.quantization.calibrate import create_calibrator

        self._model = onnx.load_from_string(fp32)
        for number, node in enumerate(self._model.graph.node):
            node.name = node.name or f"{node.op_type}_{number}"
        weights = {i.name: int(np.prod(i.dims)) for i in self._model.graph.initializer}
        convolutions = [node for node in self._model.graph.node if node.op_type == "Conv"]
        self._sizes = {node.name: weights[node.input[1]] for node in convolutions if node.input[1] in weights}
        with tempfile.TemporaryDirectory() as folder, _silent():
            named, augmented = Path(folder) / "named.onnx", Path(folder) / "augmented.onnx"
            onnx.save(self._model, named)
            calibrator = create_calibrator(
                named,
                ["Conv"],
                augmented_model_path=str(augmented),
                calibrate_method=CalibrationMethod.MinMax,
            )
            calibrator.collect_data(_Reader(photos.calibration))
            self._ranges = calibrator.compute_data()

    @property
    def layers(self) -> list[str]:
        """Names of the convolutions with weights, in order."""
        return list(self._sizes)

    def share(self, layers: Sequence[str]) -> float:
        """Return the share of the weights that these layers have."""
        return sum(self._sizes[name] for name in layers) / sum(self._sizes.values())

    def with_layers(self, layers: Sequence[str]) -> bytes:
        """Return the file with these layers quantized."""
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        with _silent():
            quantizer = QDQQuantizer(
                model,
                True,
                True,
                QuantType.QInt8,
                QuantType.QUInt8,
                self._ranges,
                list(layers),
                [],
                ["Conv"],
                {},
            )
            quantizer.quantize_model()
            quantizer.model.topological_sort()  # it appends its nodes
        made: onnx.ModelProto = quantizer.model.model
        del made.opset_import[1:]  # declared, not used
        content: bytes = made.SerializeToString()
        return content


class _Reader:
    """Feeds the calibrator."""

    def __init__(self, pairs: Sequence[Inputs]) -> None:
        self._left = iter(pairs)

    def get_next(self) -> Inputs | None:
        return next(self._left, None)


class _silent:  # noqa: N801 - a context manager used like a function
    """Silence the quantizer's advice on the root logger."""

    def __enter__(self) -> None:
        logging.disable(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        logging.disable(logging.NOTSET)
