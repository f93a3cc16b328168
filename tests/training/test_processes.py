from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import torch

from training.checkpoint import load_checkpoint
from training.config import TrainConfig
from training.loop import train
from training.stylizer import StylizerNetwork

RUN = """
import sys
from pathlib import Path
from training.config import TrainConfig
from training.loop import train

train(TrainConfig(Path(sys.argv[1]), Path(sys.argv[2]), steps=1, crop=64, learning_rate=1e-2, batch=2))
"""


def run_two(photos: Path, out: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    running = [
        subprocess.Popen(
            [sys.executable, "-c", RUN, str(photos), str(out)],
            env={**os.environ, **shared, "PYTHONPATH": path, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    assert [process.wait(timeout=240) for process in running] == [0, 0]


def test_two_processes_train_one_stylizer_on_different_batches(photos: Path, tmp_path: Path) -> None:
    run_two(photos, tmp_path / "two.safetensors")
    train(TrainConfig(photos, tmp_path / "one.safetensors", steps=1, crop=64, learning_rate=1e-2, batch=2))
    two, _ = load_checkpoint(tmp_path / "two.safetensors")
    one, _ = load_checkpoint(tmp_path / "one.safetensors")
    torch.manual_seed(0)
    name = "local.decoder.rgb.weight"
    start = StylizerNetwork().state_dict()[name]
    a, b = (trained.state_dict()[name] - start for trained in (two, one))
    # Adam's first step is ±learning rate by the gradient's sign; a second batch flips some of the signs.
    assert a.abs().max() <= 1.001e-2
    assert 0 < (a.sign() != b.sign()).sum() < a.numel()
    assert len((tmp_path / "two.log.jsonl").read_text().splitlines()) == 1, "only the first process writes"
