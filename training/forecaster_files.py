"""A trained forecaster in its run folder: settings and weights in one file, read back without running code."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from training.errors import TrainingError
from training.networks.anomaly_likelihood import AnomalySettings
from training.networks.decoders import AnyDecoder, Member, decoder_of, parts_of, together
from training.networks.forecaster import CovariateScale, Forecaster, ForecasterSettings, StaticEncoding
from training.networks.segment_forecaster import SegmentForecaster, SegmentSettings

NETWORK_FILE = "forecaster.pt"


def save_forecaster(network: AnyDecoder, folder: Path) -> None:
    """Write the network as it stands."""
    members = [
        {name: value.detach().cpu() for name, value in member.state_dict().items()} for member in parts_of(network)
    ]
    settings = dataclasses.asdict(network.settings)
    torch.save({"decoder": decoder_of(network), "settings": settings, "members": members}, folder / NETWORK_FILE)


def load_forecaster(folder: Path) -> AnyDecoder:
    """The network as it was saved, in evaluation mode.

    Raises:
        TrainingError: the folder holds none.
    """
    path = folder / NETWORK_FILE
    if not path.is_file():
        raise TrainingError(f"{folder.name}: expected {NETWORK_FILE} of a finished run; continue it with --resume")
    content: dict[str, Any] = torch.load(path, weights_only=True)
    weights = content["members"] if "members" in content else [content["weights"]]  # of runs before there were members
    members = [_fresh(content) for _ in weights]
    for member, own in zip(members, weights, strict=True):
        member.load_state_dict(own)
        member.eval()
    return together(members)


def _fresh(content: Mapping[str, Any]) -> Member:
    if content.get("decoder") == "direct":
        return SegmentForecaster(segment_settings_of(content["settings"]))
    return Forecaster(settings_of(content["settings"]))


def segment_settings_of(values: Mapping[str, Any]) -> SegmentSettings:
    """The same of a segment forecaster."""
    known = {field.name for field in dataclasses.fields(SegmentSettings)}
    return SegmentSettings(**{name: _made(name, value) for name, value in values.items() if name in known})


def settings_of(values: Mapping[str, Any]) -> ForecasterSettings:
    """A forecaster's settings from plain values, as a run's file or a manifest holds them."""
    known = {field.name for field in dataclasses.fields(ForecasterSettings)}
    made = {name: _made(name, value) for name, value in values.items() if name in known}
    return ForecasterSettings(**made)


def _made(name: str, value: Any) -> Any:
    match name:
        case "covariates":
            return tuple(CovariateScale(**_plain(one)) for one in value)
        case "static":
            return tuple(StaticEncoding(**_plain(one)) for one in value)
        case "anomaly":
            return AnomalySettings(**_plain(value))
    return _tuple(value)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _tuple(value) for name, value in values.items()}


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
