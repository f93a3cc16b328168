from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from training.checkpoint import CheckpointError, load_checkpoint
from training.loop import TrainConfig, learning_rate, train


def losses(checkpoint: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in checkpoint.with_suffix(".log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "time"} for row in rows]


@pytest.mark.slow
def test_a_resumed_run_has_the_loss_curve_of_an_unbroken_one(photos: Path, tmp_path: Path) -> None:
    config = TrainConfig(photos, tmp_path / "whole.safetensors", steps=4, crop=48, save_every=2)
    train(config)
    broken = dataclasses.replace(config, out=tmp_path / "broken.safetensors")

    def stop_after_three(step: int, _: dict[str, float]) -> None:
        if step == 3:  # one step past the last checkpoint, as a power cut would
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(broken, progress=stop_after_three)
    assert load_checkpoint(broken.out)[1].step == 2
    train(broken, resume=True)
    whole, pieces = losses(config.out), losses(broken.out)
    assert [row["step"] for row in whole] == [1, 2, 3, 4]
    assert [row["step"] for row in pieces] == [1, 2, 3, 4]
    for a, b in zip(whole, pieces, strict=True):
        assert a == pytest.approx(b, rel=1e-4)
    a, b = load_checkpoint(config.out)[0].state_dict(), load_checkpoint(broken.out)[0].state_dict()
    for name in a:
        torch.testing.assert_close(a[name], b[name], atol=1e-5, rtol=1e-3)


@pytest.mark.slow
def test_training_brings_the_loss_down(photos: Path, tmp_path: Path) -> None:
    config = TrainConfig(photos, tmp_path / "a.safetensors", steps=24, crop=48, learning_rate=1e-3)
    train(config)
    total = [row["total"] for row in losses(config.out)]
    assert sum(total[-8:]) < sum(total[:8])


def test_learning_rate_falls_to_a_tenth(tmp_path: Path) -> None:
    config = TrainConfig(tmp_path, tmp_path, steps=100)
    rates = [learning_rate(config, step) for step in range(101)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == pytest.approx(1e-4)
    assert rates[-1] == pytest.approx(1e-5)


def test_nothing_to_resume(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        train(TrainConfig(photos, tmp_path / "none.safetensors", steps=1, crop=48), resume=True)
