"""A trained forecaster in its run folder: settings and weights in one file, read back without running code."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch

from training.errors import TrainingError
from training.networks.forecaster import CovariateScale, Forecaster, ForecasterSettings, StaticEncoding

NETWORK_FILE = "forecaster.pt"


def save_forecaster(network: Forecaster, folder: Path) -> None:
    """Write the network as it stands."""
    weights = {name: value.detach().cpu() for name, value in network.state_dict().items()}
    torch.save({"settings": dataclasses.asdict(network.settings), "weights": weights}, folder / NETWORK_FILE)


def load_forecaster(folder: Path) -> Forecaster:
    """The network as it was saved, in evaluation mode.

    Raises:
        TrainingError: the folder holds none.
    """
    path = folder / NETWORK_FILE
    if not path.is_file():
        raise TrainingError(f"{folder.name}: expected {NETWORK_FILE} of a finished run; continue it with --resume")
    content: dict[str, Any] = torch.load(path, weights_only=True)
    settings = content["settings"]
    network = Forecaster(
        ForecasterSettings(
            **settings
            | {
                "covariates": tuple(CovariateScale(**scale) for scale in settings["covariates"]),
                "static": tuple(StaticEncoding(**encoding) for encoding in settings["static"]),
            }
        )
    )
    network.load_state_dict(content["weights"])
    network.eval()
    return network
