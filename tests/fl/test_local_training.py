from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from fl.average import distance
from fl.local_training import LocalTrainingError, LocalUpdate, retrain
from fl.parameters import check_parameters, fingerprint, trained
from tests.checkpoints import shipped_checkpoint
from tests.fl.conftest import FAST, fill
from training.config import StepConfig
from training.photos import PhotoFolderError


@pytest.fixture(scope="module")
def update(checkpoint: Path, spool: Path) -> LocalUpdate:
    return retrain(checkpoint, spool, steps=2, config=FAST)


def test_an_update_changes_every_trained_tensor_a_little(checkpoint: Path, update: LocalUpdate) -> None:
    start = trained(load_file(checkpoint))
    check_parameters(update.parameters, start, "edge")
    parts = {".".join(name.split(".")[:2]) for name in update.parameters}
    assert parts == {"local.decoder", "local.smoothing"}  # neither VGG nor the look network
    for name, value in update.parameters.items():
        assert np.any(value != start[name]), name
        assert np.abs(value - start[name]).max() <= 2.1 * FAST.learning_rate  # Adam moves one rate a step
    assert update.frames == 3
    assert update.sha256 == fingerprint(update.parameters)
    named = {"content", "style", "structure", "look", "roughness", "range", "contrast", "tint"}
    assert set(update.losses) == {"total", *named}


def test_the_same_round_reproduces_the_update_and_another_round_differs(
    checkpoint: Path, spool: Path, update: LocalUpdate
) -> None:
    again = retrain(checkpoint, spool, steps=2, config=FAST)
    assert again.losses == pytest.approx(update.losses, rel=1e-4)
    later = retrain(checkpoint, spool, steps=2, config=FAST, server_round=2)
    assert later.losses != pytest.approx(update.losses, rel=1e-4)


def test_the_fedprox_term_keeps_an_edge_close_to_the_start(checkpoint: Path, spool: Path) -> None:
    config = StepConfig(batch=2, crop=32, learning_rate=1e-3)
    start = trained(load_file(checkpoint))
    free, held = (
        distance(retrain(checkpoint, spool, steps=3, config=config, fedprox_mu=mu).parameters, start)
        for mu in (0.0, 1e5)
    )
    assert held < 0.7 * free


def test_training_pauses_before_each_step(checkpoint: Path, spool: Path) -> None:
    waited: list[int] = []
    retrain(checkpoint, spool, steps=2, config=FAST, pause=lambda: waited.append(1))
    assert len(waited) == 2


def test_a_model_without_a_local_part_is_refused(spool: Path) -> None:
    with pytest.raises(LocalTrainingError, match="no local part"):
        retrain(shipped_checkpoint("lite"), spool, steps=1, config=FAST)


def test_an_incomplete_spool_is_reported(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(PhotoFolderError, match="frames"):
        retrain(checkpoint, tmp_path, steps=1, config=FAST)
    fill(tmp_path / "frames", ("coffee", "chelsea"))
    (tmp_path / "styles").mkdir()
    with pytest.raises(PhotoFolderError, match="styles has only 0 photos"):
        retrain(checkpoint, tmp_path, steps=1, config=FAST)


def test_diverging_training_is_an_error(checkpoint: Path, spool: Path) -> None:
    with pytest.raises(LocalTrainingError, match="diverged at step"):
        retrain(checkpoint, spool, steps=3, config=StepConfig(batch=2, crop=32, learning_rate=1e30))
