from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from export.errors import GraphError
from export.parity.kernels import KERNELS, sized_kernels
from export.runtimes import hexagon
from export.runtimes.tflite_to_onnx import onnx_twin


@pytest.mark.parametrize("kind", ["warp_accel", "transfer_accel"])
def test_the_twin_computes_the_kernels_formula(kind: str) -> None:
    kernel = next(k for k in sized_kernels([(40, 24)], lambda *_: (5, 3, 4)) if k.role.startswith(kind))
    twin = onnxruntime.InferenceSession(onnx_twin(kernel.build()).SerializeToString())
    for case in kernel.cases():
        (found,) = twin.run(None, case.inputs)
        assert np.abs(found.ravel() - case.expected).max() < 0.05, case.name


def test_an_unsupported_operator_is_named() -> None:
    with pytest.raises(GraphError, match="cannot be translated to ONNX"):
        onnx_twin(KERNELS["key_frame"].build())


def test_a_missing_hexagon_library_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hexagon, "find_spec", lambda name: None)
    assert "mvstylizer[npu]" in str(hexagon.why_missing())
