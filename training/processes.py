"""Data-parallel training with torch.distributed, one process per GPU, when started by `torchrun`.

    torchrun --nproc-per-node 4 -m mvstylizer_cli train ...

Each process draws its own batches. Gradients are averaged, so that all processes keep the same weights. The
first process writes the files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import nn


@contextmanager
def joined() -> Iterator[str]:
    """Join the other processes that `torchrun` has started and yield the device, cuda:K or cpu."""
    cuda = torch.cuda.is_available()
    if "RANK" not in os.environ:
        yield "cuda" if cuda else "cpu"
        return
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield f"cuda:{os.environ['LOCAL_RANK']}" if cuda else "cpu"
    finally:
        dist.destroy_process_group()


def draw_key() -> tuple[int, ...]:
    """Return the part of the random seed that differs between processes; empty for the first."""
    return (dist.get_rank(),) if is_shared() and dist.get_rank() else ()


def is_first() -> bool:
    """Return whether this process writes checkpoints and logs."""
    return not is_shared() or dist.get_rank() == 0


def is_shared() -> bool:
    """Return whether several processes train together."""
    return dist.is_available() and dist.is_initialized()


def average_gradients(module: nn.Module) -> None:
    """Average the gradients over all processes; does nothing in a single process."""
    if not is_shared():
        return
    for parameter in module.parameters():
        if parameter.requires_grad:
            if parameter.grad is None:  # all processes must reduce the same tensors
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)
            parameter.grad /= dist.get_world_size()
