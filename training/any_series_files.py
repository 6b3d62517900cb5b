"""A trained general model in its run folder: settings and weights in one file, read back without running code."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from training.errors import TrainingError
from training.networks.anomaly_likelihood import AnomalySettings
from training.networks.any_series import AnySeries, AnySeriesSettings
from training.networks.expert_features import ExpertSettings

NETWORK_FILE = "any_series.pt"
_RECORDS = {"experts": ExpertSettings, "anomaly": AnomalySettings}


def save_any_series(network: AnySeries, folder: Path) -> None:
    """Write the network as it stands."""
    weights = {name: value.detach().cpu() for name, value in network.state_dict().items()}
    torch.save({"settings": dataclasses.asdict(network.settings), "weights": weights}, folder / NETWORK_FILE)


def load_any_series(folder: Path) -> AnySeries:
    """The network as it was saved, in evaluation mode.

    Raises:
        TrainingError: the folder holds none.
    """
    path = folder / NETWORK_FILE
    if not path.is_file():
        raise TrainingError(f"{folder.name}: expected {NETWORK_FILE} of a finished run; continue it with --resume")
    content: dict[str, Any] = torch.load(path, weights_only=True)
    network = AnySeries(any_series_settings(content["settings"]))
    network.load_state_dict(content["weights"])
    return network.eval()


def any_series_settings(values: Mapping[str, Any]) -> AnySeriesSettings:
    """The network's settings from plain values, as a run's file or a manifest holds them."""
    made = {name: _RECORDS[name](**_plain(value)) if name in _RECORDS else value for name, value in values.items()}
    return AnySeriesSettings(**_plain(made))


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
