"""Several processes as one: each takes its columns of every window, and gradients are averaged.

Started by `torchrun`, which sets RANK, WORLD_SIZE and LOCAL_RANK; without it there is one process and
everything here is the identity. Weights stay equal because all start equal and take equal steps.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from training.bptt import Window
from training.errors import TrainingError
from training.networks.recurrence import State


@contextmanager
def process_group() -> Iterator[None]:
    """Join the processes that `torchrun` started, if it did, until the end of the block."""
    if "WORLD_SIZE" not in os.environ or dist.is_initialized():
        yield
        return
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes work on the fit."""
    return dist.get_world_size() if dist.is_initialized() else 1


def local_device(name: str) -> torch.device:
    """The device of this process: `auto`, `cpu` or `cuda`, where processes of one machine take one GPU each."""
    if name not in ("auto", "cpu", "cuda"):
        raise TrainingError(f"device: expected auto, cpu or cuda, got {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainingError("device cuda: torch finds no usable GPU on this machine; use --device auto")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def own_columns(window: Window) -> Window:
    """The columns of a window that are this process's share."""
    columns, processes = window.resets.shape[0], world_size()
    if columns % processes:
        raise TrainingError(f"batch-size: expected a multiple of the {processes} processes, got {columns}")
    share = columns // processes
    return window.columns(rank() * share, (rank() + 1) * share)


def average(network: nn.Module, loss: float, scored: int, numbers: Sequence[float]) -> tuple[float, list[float]]:
    """Average all gradients in place over the processes, with the loss and a few numbers, in one exchange.

    Args:
        scored: steps that this process's loss is the mean of; its gradients and loss count by them, so that
            processes come to what one would whose loss is the mean over all steps.
    """
    if world_size() == 1:
        return loss, list(numbers)
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    device = gradients[0].device
    weighted = torch.cat([g.flatten() for g in gradients] + [torch.tensor([loss], device=device)]) * scored
    flat = torch.cat([weighted, torch.tensor([scored, *numbers], device=device)])
    dist.all_reduce(flat)
    total, sums = flat[len(weighted)], flat[len(weighted) + 1 :]
    averages = flat[: len(weighted)] / total.clamp(min=1)
    begin = 0
    for gradient in gradients:
        gradient.copy_(averages[begin : begin + gradient.numel()].view_as(gradient))
        begin += gradient.numel()
    return float(averages[-1]), [float(number) for number in sums / world_size()]


def wait() -> None:
    """Go on when all processes have come here."""
    if world_size() > 1:
        dist.barrier()


def from_first(number: float) -> float:
    """The first process's number, in every process."""
    if world_size() == 1:
        return number
    shared: list[Any] = [number]
    dist.broadcast_object_list(shared, src=0)
    return float(shared[0])


def gathered(item: Any) -> list[Any]:
    """One item of every process, in the order of their ranks."""
    if world_size() == 1:
        return [item]
    items: list[Any] = [None] * world_size()
    dist.all_gather_object(items, item)
    return items


def whole_state(state: State) -> State:
    """The carried state of all columns, from every process's share."""
    shares: list[State] = gathered(tuple(part.cpu() for part in state))
    return tuple(torch.cat(parts, dim=1) for parts in zip(*shares, strict=True))


def own_state(state: State) -> State:
    """This process's columns of a state of all columns."""
    return tuple(part.chunk(world_size(), dim=1)[rank()].contiguous() for part in state)
