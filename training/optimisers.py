"""Optimisers by name, and the learning rate as a pure function of how far the fit has come."""

from __future__ import annotations

import math

import torch
from torch import nn

from training.fit_settings import FitSettings


def build_optimizer(network: nn.Module, settings: FitSettings) -> torch.optim.Optimizer:
    """The optimiser of the settings over a network's parameters, weight decay on matrices alone."""
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    rate, momentum = settings.learning_rate, settings.momentum
    match settings.optimizer:
        case "sgd":
            return torch.optim.SGD(groups, lr=rate, momentum=momentum)
        case "rmsprop":
            return torch.optim.RMSprop(groups, lr=rate, momentum=momentum)
        case "adam":
            return torch.optim.Adam(groups, lr=rate)
        case "adamw":
            return torch.optim.AdamW(groups, lr=rate)


def learning_rate(settings: FitSettings, step: int, epoch: int, progress: float, falls: int) -> float:
    """Learning rate of one update.

    Args:
        progress: share of the fit that is done, by updates or by time, whichever is further.
        falls: times the validation has stopped improving for `plateau_patience` epochs.
    """
    rate = settings.learning_rate
    match settings.schedule:
        case "cosine":  # Loshchilov and Hutter, 2017, without restarts
            low = settings.final_rate
            rate *= low + (1 - low) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2
        case "step":
            rate *= settings.decay_factor ** (epoch // settings.step_epochs)
        case "plateau":
            rate *= settings.decay_factor**falls
        case "constant":
            pass
    return rate * min(1.0, (step + 1) / (settings.warmup_steps + 1))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Let the next update use `rate`."""
    for group in optimizer.param_groups:
        group["lr"] = rate
