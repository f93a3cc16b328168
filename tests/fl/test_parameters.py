from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from fl.parameters import ParametersError, check_parameters, fingerprint, map_parameters, write_parameters


@pytest.fixture
def parameters() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "weight": rng.standard_normal((4, 3, 5, 5)).astype(np.float32),
        "bias": rng.standard_normal(4).astype(np.float32),
        "none": np.empty((0, 3), np.float32),
    }


def test_a_written_file_is_read_by_us_and_by_safetensors(
    parameters: dict[str, np.ndarray], tmp_path: Path
) -> None:
    path = tmp_path / "deep" / "model.safetensors"
    write_parameters(path, parameters, {"format": "x"})
    mapped, header = map_parameters(path)
    assert header == {"format": "x"}
    for reader in (mapped, load_file(path)):
        assert reader.keys() == parameters.keys()
        for name, value in parameters.items():
            np.testing.assert_array_equal(reader[name], value)
    assert fingerprint(mapped) == fingerprint(parameters)
    assert [p.name for p in path.parent.iterdir()] == ["model.safetensors"]


def test_the_fingerprint_depends_on_values_names_and_shapes(parameters: dict[str, np.ndarray]) -> None:
    changed = {name: value.copy() for name, value in parameters.items()}
    changed["bias"][2] = np.nextafter(changed["bias"][2], np.float32(2))
    renamed = {("offset" if name == "bias" else name): value for name, value in parameters.items()}
    reshaped = {**parameters, "bias": parameters["bias"].reshape(2, 2)}
    reordered = dict(reversed(parameters.items()))
    prints = [fingerprint(p) for p in (parameters, changed, renamed, reshaped)]
    assert len(set(prints)) == 4
    assert fingerprint(reordered) == prints[0]


def test_a_truncated_or_missing_file_is_reported(parameters: dict[str, np.ndarray], tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_parameters(path, parameters, {})
    whole = path.read_bytes()
    for length in (0, 4, 40, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ParametersError, match="is damaged"):
            map_parameters(path)
    with pytest.raises(ParametersError, match="does not exist"):
        map_parameters(tmp_path / "none")


def test_a_file_with_another_dtype_is_rejected(tmp_path: Path) -> None:
    save_file({"weight": np.zeros(3, np.float16)}, tmp_path / "half.safetensors")
    with pytest.raises(ParametersError, match="weight as F16, expected F32"):
        map_parameters(tmp_path / "half.safetensors")


def test_invalid_parameters_are_rejected_with_a_reason(parameters: dict[str, np.ndarray]) -> None:
    check_parameters(parameters, parameters, "edge a")
    nan = {**parameters, "bias": np.array([1, np.nan, np.inf, 0], np.float32)}
    cases = {
        r"edge a sent a different architecture: missing \['bias'\], unknown \['offset'\]": {
            ("offset" if name == "bias" else name): value for name, value in parameters.items()
        },
        r"edge a sent bias as float64\[4\], expected float32\[4\]": {
            **parameters,
            "bias": parameters["bias"].astype(np.float64),
        },
        r"edge a sent bias as float32\[2, 2\], expected float32\[4\]": {
            **parameters,
            "bias": parameters["bias"].reshape(2, 2),
        },
        "edge a sent bias with 2 NaN or infinite values": nan,
    }
    for message, given in cases.items():
        with pytest.raises(ParametersError, match=message):
            check_parameters(given, parameters, "edge a")
