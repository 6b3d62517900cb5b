"""Training as a whole, from prepared data to a network ready to be published; the commands and refits share it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from training.direct_decoder import PreparedDirect
from training.evaluation.forecast_evaluation import Evaluation
from training.fit import FitResult, FitSettings
from training.fit_members import FittedMembers, fit_members
from training.forecaster_recipe import Prepared, measure, set_spread
from training.forecaster_settings import EvaluationSettings
from training.networks.decoders import AnyDecoder, Decoder, Member, decoder_of, together
from training.path_correlation import path_correlation


@dataclass(frozen=True)
class Trained:
    """A network as it will be published, and how it came to be."""

    prepared: Prepared
    network: AnyDecoder
    fits: list[FitResult]
    spread: float
    """What all gaps between quantiles were multiplied by."""
    spread_covered: float | None
    """Share of the validation stretch that 80 % intervals covered then; None where nothing was set."""
    path_correlation: float | None
    """Of neighbouring steps' errors; None for a network that tells one step at a time."""
    validation: Evaluation

    @property
    def decoder(self) -> Decoder:
        """How it looks several steps ahead."""
        return decoder_of(self.network)

    @property
    def score(self) -> float:
        """What decoders are chosen by: mean weighted quantile loss on the validation stretch, the less the better."""
        return self.validation.metrics.get("mean_weighted_quantile_loss", math.inf)

    def to_dict(self) -> dict[str, Any]:
        """What a run's result says of the training."""
        losses = [_losses(member) for member in self.fits]
        return {
            "decoder": self.decoder,
            "spread": self.spread,
            "spread_covered": self.spread_covered,
            "path_correlation": self.path_correlation,
            "loss": losses[0],
            "members": losses,
            "split": asdict(self.prepared.split),
            "validation": self.validation.metrics,
        }


def fit_forecaster(
    prepared: Prepared, members: int, settings: FitSettings, run: Path, *, resume: bool, device: torch.device
) -> FittedMembers[Member]:
    """Fit the members of one model in a run folder."""

    def build() -> Member:
        return prepared.build().to(device)

    def fit_one(network: Member, own: FitSettings, folder: Path) -> FitResult:
        return prepared.fit(network, own, folder, resume)

    return fit_members(build, fit_one, members, settings, run)


def finish(prepared: Prepared, fitted: FittedMembers[Member], settings: EvaluationSettings, seed: int) -> Trained:
    """Put the members together, set the spread, and measure the validation stretch."""
    network = together([member.cpu() for member in fitted.members])
    factor, covered, correlation = 1.0, None, None
    if settings.cover:
        factor, covered, network = set_spread(network, prepared, settings, seed)
    if isinstance(prepared, PreparedDirect):
        correlation = path_correlation(prepared.fell(network))
    split = prepared.split
    validation = measure(network, prepared, settings, seed, split.validation, split.test)
    return Trained(prepared, network, fitted.results, factor, covered, correlation, validation)


def _losses(fitted: FitResult) -> dict[str, Any]:
    return {
        "train": [epoch.train_loss for epoch in fitted.history],
        "validation": [epoch.validation_loss for epoch in fitted.history],
        "best": fitted.best_epoch,
    }
