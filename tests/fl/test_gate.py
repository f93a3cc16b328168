from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from fl.gate import Gate
from fl.parameters import map_parameters, write_parameters
from tests.fl.conftest import fill
from training.photos import PhotoFolderError


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    folder = tmp_path_factory.mktemp("holdout")
    fill(folder / "contents", ("chelsea",))
    fill(folder / "styles", ("coffee", "rocket"))
    return Gate(folder, size=64)


def variant(checkpoint: Path, out: Path, change: dict[str, float]) -> Path:
    """Write the checkpoint with constants added to some of its tensors."""
    header = map_parameters(checkpoint)[1]
    parameters = load_file(checkpoint)
    write_parameters(out, {n: v + np.float32(change.get(n, 0)) for n, v in parameters.items()}, header)
    return out


def test_the_same_model_passes_with_equal_scores_for_each_style(gate: Gate, checkpoint: Path) -> None:
    decision = gate.evaluate(checkpoint, checkpoint)
    assert (decision.accepted, decision.reasons) == (True, ())
    assert list(decision.scores) == ["coffee", "rocket"]
    for pair in decision.scores.values():
        assert pair["candidate"] == pair["live"]
        assert pair["live"].total == pytest.approx(pair["live"].content + pair["live"].style)
        assert 0 < pair["live"].structure <= 1
    assert decision.scores["coffee"]["live"] != decision.scores["rocket"]["live"]


def test_a_worse_model_is_refused(gate: Gate, checkpoint: Path, tmp_path: Path) -> None:
    worse = variant(checkpoint, tmp_path / "worse.safetensors", {"local.decoder.rgb.bias": 0.3})
    decision = gate.evaluate(worse, checkpoint)
    assert not decision.accepted
    assert "Eq. 5 loss" in " ".join(decision.reasons)
    assert decision.reasons[0].startswith("coffee: ")


def test_noise_in_the_last_layer_is_refused_and_removing_it_is_accepted(
    gate: Gate, checkpoint: Path, tmp_path: Path
) -> None:
    header = map_parameters(checkpoint)[1]
    parameters = load_file(checkpoint)
    noise = np.random.default_rng(0).normal(0, 0.3, parameters["local.decoder.rgb.weight"].shape)
    parameters["local.decoder.rgb.weight"] = parameters["local.decoder.rgb.weight"] + noise.astype(np.float32)
    write_parameters(tmp_path / "noisy.safetensors", parameters, header)
    decision = gate.evaluate(tmp_path / "noisy.safetensors", checkpoint)
    assert not decision.accepted
    assert any("structure" in reason for reason in decision.reasons)
    assert gate.evaluate(checkpoint, tmp_path / "noisy.safetensors").accepted


def test_nan_counts_as_worse(gate: Gate, checkpoint: Path, tmp_path: Path) -> None:
    nan = variant(checkpoint, tmp_path / "nan.safetensors", {"local.decoder.rgb.bias": float("nan")})
    assert len(gate.evaluate(nan, checkpoint).reasons) == 4


def test_a_missing_holdout_is_reported(tmp_path: Path) -> None:
    with pytest.raises(PhotoFolderError, match="contents"):
        Gate(tmp_path)
