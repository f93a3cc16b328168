import cv2
import numpy as np
import pytest
import torch

from training.look import loop
from training.look.checkpoint import load_look, restore_run, save_run
from training.look.data import split
from training.look.gradings import GradingSampler
from training.look.lut import identity_lut
from training.look.network import SCENE


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for index in range(24):
        coarse = rng.integers(0, 256, (8, 9, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{index:02d}.png"), cv2.resize(coarse, (144, 128)))
    luts = identity_lut(17).permute(1, 2, 3, 0).numpy() ** rng.uniform(0.5, 2, (10, 1, 1, 1, 3))
    np.savez(folder / "luts.npz", luts=luts.astype(np.float16))
    return split(folder, folder / "luts.npz")


@pytest.fixture(autouse=True)
def _few_cases(monkeypatch):
    monkeypatch.setattr(loop, "CASES", 4)


def trainer(data):
    scenes = torch.nn.functional.normalize(torch.ones(2 * len(data.train_photos), SCENE), dim=1)
    return loop.Trainer(data, loop.Options(steps=6, batch=4, mixed=False), scenes)


def test_the_hold_outs_are_not_trained_on(data):
    assert not set(data.train_photos) & set(data.test_photos)
    assert (len(data.train_luts), len(data.test_luts)) == (8, 2)


def test_gradings_stay_in_range(data):
    gradings = GradingSampler(data.train_luts).draw(20, torch.Generator().manual_seed(0))
    assert gradings.shape == (20, 3, 17, 17, 17)
    assert gradings.min() >= 0
    assert gradings.max() <= 1


def test_a_run_resumes_from_exactly_the_same_state(data, tmp_path):
    whole, path = trainer(data), tmp_path / "look.safetensors"
    whole.train_step()
    save_run(path, whole.network, whole.average, whole.adam, whole.step)
    resumed = trainer(data)
    resumed.step = restore_run(path, resumed.network, resumed.average, resumed.adam)
    assert resumed.step == 1
    assert_same(resumed.network.state_dict(), whole.network.state_dict())
    assert_same(resumed.average, whole.average)
    for index, moments in whole.adam.state_dict()["state"].items():
        assert_same(resumed.adam.state_dict()["state"][index], moments)


def test_a_resumed_run_draws_the_batches_it_would_have_drawn(data, tmp_path):
    whole, path = trainer(data), tmp_path / "look.safetensors"
    whole.train_step()
    save_run(path, whole.network, whole.average, whole.adam, whole.step)
    resumed = trainer(data)
    resumed.step = restore_run(path, resumed.network, resumed.average, resumed.adam)
    assert resumed.train_step() == pytest.approx(whole.train_step(), abs=1e-4)  # round-off alone differs


def assert_same(left, right):
    assert left.keys() == right.keys()
    for name, value in right.items():
        assert torch.equal(left[name], value), name


def test_training_writes_a_checkpoint_that_loads(data, tmp_path, capsys):
    path = tmp_path / "look.safetensors"
    loop.train(trainer(data), path)
    assert "step 6" in capsys.readouterr().out
    assert not load_look(path).training
    assert path.stat().st_size < 1_000_000


def test_a_damaged_checkpoint_is_refused(tmp_path):
    path = tmp_path / "look.safetensors"
    with pytest.raises(ValueError, match="does not exist"):
        load_look(path)
    path.write_bytes(b"no weights")
    with pytest.raises(ValueError, match="damaged"):
        load_look(path)
