"""Golden vectors, ``golden.npz`` in the bundle: inputs and expected outputs of each model file.

The expected outputs come from PyTorch or from a kernel's formula, never from the exported file. So
``export --check`` needs neither torch nor tensorflow to find out whether the files still compute the right
values on another machine. The sized kernels have no vectors, since a 1080p frame takes 25 MB:
`export.parity.kernels` generates their inputs again.

Arrays are named ``ROLE/in/TENSOR`` and ``ROLE/out/TENSOR``. The outputs of a kernel are one flat array,
``ROLE/out``, and so is the one output of a TFLite file of the lite stylizer.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

from export.parity.kernels import KERNELS
from export.parity.test_images import parity_picture
from export.runtimes import compiled_model
from export.runtimes.cpu import CPU_LANES, flat, run_on_cpu
from export.runtimes.difference import Array, Case, Differences, Tolerance
from export.runtimes.tflite_graph import Graph
from mvstylizer.bundle import LITE_ROLES, Bundle, BundleError

if TYPE_CHECKING:
    from export.parity.reference import Reference  # loads torch

GOLDEN_NAME = "golden.npz"
_KERNEL_CASES = {
    "warp": "across the border 64x48",
    "transfer": "near identity 64x48",
    "key_frame": "shift by three, threshold 0.05, gap 3",
}
# Role → output → tolerance and peak. The code is compared relative to its largest entry.
_ONNX = {
    "style_encoder": {"style_code": (Tolerance.CODE, 1.0)},
    "stylizer": {"stylized": (Tolerance.GRAY, 255.0), "grid": (Tolerance.MAP, 1.0)},
    "stylizer_map": {"grid": (Tolerance.MAP, 1.0)},
}
_LITE = dict(zip(LITE_ROLES, ((Tolerance.CODE, 1.0), (Tolerance.LUT / 255, 1.0)), strict=True))


def write_golden(path: Path, reference: Reference) -> None:
    """Write the vectors of the network, from PyTorch, and of the kernels, from their formulas."""
    vectors: dict[str, Any] = dict(_network_vectors(reference))
    for role, kernel in KERNELS.items():
        case = next(case for case in kernel.cases() if case.name == _KERNEL_CASES[role])
        vectors |= {f"{role}/in/{name}": value for name, value in case.inputs.items()}
        vectors[f"{role}/out"] = case.expected
    np.savez_compressed(path, **vectors)


def check_golden(bundle: Bundle, role: str) -> dict[str, Any]:
    """Run a file on its golden vectors.

    Args:
        bundle: Contains ``golden.npz`` and the file.
        role: Of an ONNX file, of a TFLite file of the lite stylizer, or of a kernel for any frame size.

    Returns:
        The parity row (`Differences.summary`); with several outputs, that of the first.

    Raises:
        ParityError: An output differs by more than its tolerance.
        BundleError: The bundle has no vectors for the role.
        LaneError: The runtime rejects the file.
    """
    with np.load(bundle.file("golden")) as stored:
        vectors = {name: stored[name] for name in stored.files if name.startswith(f"{role}/")}
    if not vectors:
        raise BundleError(f"{bundle.path / GOLDEN_NAME} has no vectors for {role}", "Export the bundle again")
    inputs = {name.split("/in/")[1]: value for name, value in vectors.items() if "/in/" in name}
    if role in _ONNX:
        return _check_onnx(bundle, role, inputs, vectors)
    if role in LITE_ROLES:
        return _check_lite(bundle, role, inputs, vectors)
    kernel, content = KERNELS[role], bundle.file(role).read_bytes()
    differences = Differences(bundle.spec(role).path, kernel.tolerance, kernel.peak)
    for lane, outputs in _on_every_lane(content, inputs).items():
        differences.add("golden", lane, flat(outputs), vectors[f"{role}/out"])
    return differences.summary()


def _network_vectors(reference: Reference) -> dict[str, Array]:
    style, frame, r = parity_picture(48, 64, seed=1), parity_picture(64, 96, seed=2), 1.25
    code = reference.style_code(style)
    vectors: dict[str, Array] = {
        "style_encoder/in/style": style[None],
        "style_encoder/out/style_code": code,
        "stylizer/in/r": np.array([r], np.float32),
        "stylizer/out/stylized": reference.stylized(frame, code, r).astype(np.uint8),
    }
    for role in ("stylizer", "stylizer_map"):
        vectors |= {f"{role}/in/frame": frame[None], f"{role}/in/style_code": code}
        vectors[f"{role}/out/grid"] = reference.grid(frame, code)
    return vectors if reference.stylizer.heads is None else vectors | _lite_vectors(reference)


def _lite_vectors(reference: Reference) -> dict[str, Array]:
    style, frame = (reference.thumb(parity_picture(64, 96, seed=seed)) for seed in (1, 2))
    code = reference.global_code(style)
    halfway = np.concatenate(
        [np.full_like(code[:, :1], 0.5), code[:, 1:]], axis=1
    )  # look and palette both count
    encoder, look = LITE_ROLES
    return {
        f"{encoder}/in/thumb": style,
        f"{encoder}/out": code,
        f"{look}/in/thumb": frame,
        f"{look}/in/style_code": halfway,
        f"{look}/out": reference.lut(frame, halfway),
    }


def _recorded(bundle: Bundle, role: str, output: str) -> float:
    """Return what a quantized file may differ by: twice what it did at its export; 0 for any other file."""
    if bundle.network.get("precision") != "int8" or role == "style_encoder":
        return 0.0
    parity = bundle.spec(role).parity
    return 2 * float(parity["map_max"] if (role, output) == ("stylizer", "grid") else parity["max"])


def _on_every_lane(content: bytes, inputs: Mapping[str, Array]) -> dict[str, list[Array]]:
    """Run a TFLite file on every lane of the CPU; LiteRT 2 needs a file with a signature (and a shape)."""
    found = {lane: run_on_cpu(content, inputs, lane) for lane in CPU_LANES}
    if Graph(content).signature_name:
        case = Case("golden", dict(inputs), np.empty(0))
        (found[compiled_model.LANE],) = compiled_model.run_compiled(content, [case])
    return found


def _check_lite(
    bundle: Bundle, role: str, inputs: Mapping[str, Array], vectors: Mapping[str, Array]
) -> dict[str, Any]:
    content, spec, (allowed, peak) = bundle.file(role).read_bytes(), bundle.spec(role), _LITE[role]
    expected = vectors[f"{role}/out"]
    scale = float(np.abs(expected).max())
    differences = Differences(f"{spec.outputs[0].name} of {spec.path}", allowed, peak)
    for lane, (found,) in _on_every_lane(content, inputs).items():
        differences.add("golden", lane, found / scale, expected / scale)
    return differences.summary()


def _check_onnx(
    bundle: Bundle, role: str, inputs: Mapping[str, Array], vectors: Mapping[str, Array]
) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(str(bundle.file(role)), providers=["CPUExecutionProvider"])
    rows = []
    for output, (allowed, peak) in _ONNX[role].items():
        allowed = max(allowed, _recorded(bundle, role, output))
        (found,) = session.run([output], dict(inputs))
        expected = vectors[f"{role}/out/{output}"]
        scale = float(np.abs(expected).max()) if output == "style_code" else 1.0
        differences = Differences(f"{output} of {bundle.spec(role).path}", allowed, peak)
        differences.add("golden", "ONNX Runtime", found / scale, expected / scale)
        rows.append(differences.summary())
    return rows[0]
