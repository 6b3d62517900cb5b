"""`python -m training export`: publishes the model of a finished run, whatever it was trained for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.errors import TrainingError
from training.model_name import model_name
from training.publish_any_series import publish_any_series
from training.publish_classifier import publish_classifier
from training.publish_forecaster import publish_forecaster
from training.publish_text import publish_text
from training.run_record import load_record

PUBLISHERS = {"text": publish_text, "forecast": publish_forecaster, "classify": publish_classifier}


def export(
    run: Annotated[Path, typer.Argument(help="run folder of a finished training")],
    models: Annotated[Path, typer.Option(help="model repository to publish into")] = Path("models"),
    name: Annotated[str | None, typer.Option(help="model name; the run's own otherwise")] = None,
) -> None:
    """Export a run's best network, check it against PyTorch, and publish it as the next version of a model."""
    record = load_record(run)
    if record.task not in PUBLISHERS:
        raise TrainingError(f"{run.name}: expected a run of {' or '.join(PUBLISHERS)}, got {record.task!r}")
    name = model_name(name or record.settings["card"]["name"], run)
    publisher = publish_any_series if "corpus" in record.settings else PUBLISHERS[record.task]
    folder = publisher(run, models, name)
    Console().print(f"published {folder}", highlight=False, soft_wrap=True)
