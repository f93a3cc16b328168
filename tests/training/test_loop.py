from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from training.checkpoint import CheckpointError, load_checkpoint
from training.config import TrainConfig
from training.loop import learning_rate, train


def losses(checkpoint: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in checkpoint.with_suffix(".log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "time"} for row in rows]


@pytest.mark.slow
def test_a_resumed_run_has_the_losses_of_an_uninterrupted_one(photos: Path, tmp_path: Path) -> None:
    config = TrainConfig(photos, tmp_path / "whole.safetensors", steps=4, crop=64, save_every=2)
    train(config)
    broken = dataclasses.replace(config, out=tmp_path / "broken.safetensors")

    def stop_after_three(step: int, _: dict[str, float]) -> None:
        if step == 3:  # one step after the last checkpoint, like a power failure
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
def test_training_reduces_the_loss(photos: Path, tmp_path: Path) -> None:
    config = TrainConfig(photos, tmp_path / "a.safetensors", steps=24, crop=64, learning_rate=1e-3)
    train(config)
    total = [row["total"] for row in losses(config.out)]
    assert sum(total[-8:]) < sum(total[:8])


def test_learning_rate_falls_to_a_tenth(tmp_path: Path) -> None:
    config = TrainConfig(tmp_path, tmp_path, steps=100)
    rates = [learning_rate(config, step) for step in range(101)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == pytest.approx(1e-4)
    assert rates[-1] == pytest.approx(1e-5)


def test_resuming_without_a_checkpoint_is_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        train(TrainConfig(photos, tmp_path / "none.safetensors", steps=1, crop=64), resume=True)


def test_a_run_writes_a_card_and_tensorboard_events(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    (folder / "broken.jpg").write_bytes(b"no photo")
    config = TrainConfig(
        folder, tmp_path / "a.safetensors", steps=6, crop=64, tensorboard=tmp_path / "events"
    )
    used = train(config)
    assert {path.name for path in used.broken} == {"broken.jpg"}
    card = config.out.with_suffix(".card.md").read_text()
    assert "Photos: 4, of which 1 were unreadable and skipped" in card
    assert "| 1–6 |" in card
    events = EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    logged = [event.value for event in events.Scalars("loss/total")]
    assert logged == pytest.approx([row["total"] for row in losses(config.out)], abs=1e-4)


def test_a_run_can_start_with_the_weights_of_another(photos: Path, tmp_path: Path) -> None:
    config = TrainConfig(photos, tmp_path / "a.safetensors", steps=1, crop=64, learning_rate=1e-2)
    train(config)
    still = dataclasses.replace(config, out=tmp_path / "b.safetensors", start=config.out, learning_rate=0.0)
    train(still)
    a, b = (load_checkpoint(path)[0].state_dict() for path in (config.out, still.out))
    assert all(torch.equal(a[name], b[name]) for name in a)
