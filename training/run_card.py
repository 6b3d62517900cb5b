"""What the card of a published model takes from the record of its run, whatever the run was for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.progress import load_history
from training.report import Card, LossCurve, Metrics
from training.run_record import RunRecord


def run_card(
    record: RunRecord,
    name: str,
    general: str,
    *,
    metrics: Metrics,
    baselines: Mapping[str, Metrics],
    loss: LossCurve,
    notes: Sequence[str] = (),
) -> Card:
    """The card of a run's model; `general` describes it where the command said nothing."""
    card: Mapping[str, Any] = record.settings["card"]
    return Card(
        name=name,
        description=card["description"] or general,
        license=card["license"],
        command=record.command,
        commit=record.commit,
        data_name=record.data_name,
        data_sha256=record.data_sha256,
        seed=record.seed,
        settings={key: group for key, group in record.settings.items() if key != "card"},
        metrics=metrics,
        baselines=baselines,
        loss=loss,
        notes=notes,
    )


def epoch_losses(run: Path, label: str) -> LossCurve:
    """The losses of a run's epochs, of which the one that validated best was kept."""
    history = load_history(run)
    validation = [epoch.validation_loss for epoch in history]
    return LossCurve([epoch.train_loss for epoch in history], validation, validation.index(min(validation)), label)
