"""Fits the members of one model one after another, each from a seed of its own, and resumes where a run stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import torch
from torch import nn

from training.fit import FitResult
from training.fit_settings import FitSettings

Network = TypeVar("Network", bound=nn.Module)


class FittedMembers(NamedTuple, Generic[Network]):
    """The members that were fitted, and how; the last of them unfinished if the run was interrupted."""

    members: list[Network]
    results: list[FitResult]

    @property
    def interrupted(self) -> bool:
        """Whether somebody asked to stop before the end."""
        return self.results[-1].interrupted


def fit_members(
    build: Callable[[], Network],
    fit_one: Callable[[Network, FitSettings, Path], FitResult],
    count: int,
    settings: FitSettings,
    run: Path,
) -> FittedMembers[Network]:
    """Build and fit `count` networks that differ by their seeds alone.

    Args:
        fit_one: fits a network with these settings in this folder, going on from what lies there on resume: a member
            that is finished comes back at once.
        run: folder of the first member, which holds those of the others.
    """
    members: list[Network] = []
    results: list[FitResult] = []
    for number in range(count):
        own = replace(settings, seed=member_seed(settings.seed, number))
        torch.manual_seed(own.seed)
        members.append(build())
        results.append(fit_one(members[-1], own, member_folder(run, number)))
        if results[-1].interrupted:
            break
    return FittedMembers(members, results)


def member_seed(seed: int, number: int) -> int:
    """The seed of a member: of the first the run's own, of the others one that no other run's members have."""
    return seed if number == 0 else int(np.random.SeedSequence((seed, number)).generate_state(1)[0])


def member_folder(run: Path, number: int) -> Path:
    """Where a member's checkpoint and history lie: the first's in the run folder itself."""
    return run if number == 0 else run / f"member-{number}"
