"""Networks small enough to export and check in a fraction of a second."""

from __future__ import annotations

from dataclasses import replace

import torch

from training.networks.anomaly_likelihood import AnomalySettings
from training.networks.any_series import AnySeries, AnySeriesSettings
from training.networks.classifier import Classifier, ClassifierSettings
from training.networks.expert_features import ExpertSettings
from training.networks.forecaster import CovariateScale, Forecaster, ForecasterSettings, StaticEncoding
from training.networks.recurrence import Cell
from training.networks.text_generator import TextGenerator, TextGeneratorSettings

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
CELLS: tuple[Cell, ...] = ("RNN", "LSTM", "GRU")
STATIC = (StaticEncoding("area", 10.0, 2.0), StaticEncoding("kind", categories=("mill", "dam", "wind")))


def tiny_forecaster(cell: Cell = "LSTM", layers: int = 1, *, rich: bool = False, conformal: float = 0.0) -> Forecaster:
    """A forecaster with random weights; a `rich` one takes calendar, covariates and static covariates."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    settings = ForecasterSettings(cell, 6, layers, 0.0, LEVELS, lags=(1, 2, 5), decay=0.95)
    if rich:
        covariates = (CovariateScale("heat", 20.0, 5.0), CovariateScale("open", 0.5, 0.5))
        settings = ForecasterSettings(
            cell, 6, layers, 0.0, LEVELS, (1, 7), 0.95, ("hour_of_day", "day_of_week"), covariates, STATIC
        )
    return Forecaster(replace(settings, conformal=conformal))


def tiny_any_series(cell: Cell = "LSTM", *, conformal: float = 0.0) -> AnySeries:
    """A network for any series, with a history of 24 steps and random weights."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    experts = ExpertSettings(lags=(3, 4, 7, 12, 24), warm=3.0)
    anomaly = AnomalySettings(floor=0.7, share=0.3, habit=0.75, excess=1.0)
    network = AnySeries(AnySeriesSettings(cell, 6, 1, LEVELS, experts, anomaly, conformal))
    for parameter in network.recurrence.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network


def tiny_text_generator(cell: Cell = "LSTM", layers: int = 1, *, tied: bool = False) -> TextGenerator:
    """A text generator over 11 tokens, with random weights."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    settings = TextGeneratorSettings(cell=cell, hidden_size=6, layers=layers, embedding_size=4, tied=tied)
    return TextGenerator(11, settings)


def tiny_classifier(cell: Cell = "LSTM", layers: int = 1) -> Classifier:
    """A classifier of 11 tokens into 4 classes, with random weights."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return Classifier(11, 4, ClassifierSettings(cell=cell, hidden_size=6, layers=layers, embedding_size=4))
