"""Members differ by their seeds, and a run that stopped goes on with the member it stopped in."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from training.fit import FitResult  # noqa: E402
from training.fit_members import fit_members, member_folder, member_seed  # noqa: E402
from training.fit_settings import FitSettings  # noqa: E402


def test_each_member_has_weights_seed_and_folder_of_its_own(tmp_path: Path) -> None:
    seen: list[tuple[int, Path]] = []

    def fit_one(network: nn.Linear, settings: FitSettings, folder: Path) -> FitResult:
        seen.append((settings.seed, folder))
        return FitResult([], 0.0, 0)

    fitted = fit_members(lambda: nn.Linear(3, 1), fit_one, 3, FitSettings(seed=5), tmp_path)
    assert [folder for _, folder in seen] == [tmp_path, tmp_path / "member-1", tmp_path / "member-2"]
    assert len({seed for seed, _ in seen}) == 3 and seen[0][0] == 5
    assert not torch.equal(fitted.members[0].weight, fitted.members[1].weight)
    assert not fitted.interrupted


def test_the_first_member_is_what_it_would_be_alone(tmp_path: Path) -> None:
    def fit_one(network: nn.Linear, settings: FitSettings, folder: Path) -> FitResult:
        return FitResult([], 0.0, 0)

    alone, among = (
        fit_members(lambda: nn.Linear(3, 1), fit_one, count, FitSettings(), tmp_path).members for count in (1, 2)
    )
    assert torch.equal(alone[0].weight, among[0].weight)


def test_runs_of_other_seeds_share_no_member() -> None:
    seeds = [member_seed(seed, number) for seed in range(20) for number in range(5)]
    assert len(set(seeds)) == len(seeds)


def test_nothing_is_begun_after_somebody_asked_to_stop(tmp_path: Path) -> None:
    def stopped_at_once(network: nn.Linear, settings: FitSettings, folder: Path) -> FitResult:
        return FitResult([], 0.0, 0, interrupted=True)

    fitted = fit_members(lambda: nn.Linear(3, 1), stopped_at_once, 3, FitSettings(), tmp_path)
    assert len(fitted.members) == 1 and fitted.interrupted
    assert member_folder(tmp_path, 0) == tmp_path
