"""Gradient norms of a run's updates, as its TensorBoard events tell them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

from training.diagnose.gradient_norms import GradientNorms
from training.progress import EVENTS_FOLDER, LAYER_NORM, TOTAL_NORM


def training_norms(run: Path) -> GradientNorms | None:
    """Norms of the updates that were logged, oldest first; None where a run has logged none by layer."""
    if not (run / EVENTS_FOLDER).is_dir():
        return None
    events = EventAccumulator(str(run / EVENTS_FOLDER), size_guidance={SCALARS: 0})
    events.Reload()
    tags = events.Tags()[SCALARS]
    layers = [tag for tag in tags if tag.startswith(f"{LAYER_NORM}/")]
    if not layers or TOTAL_NORM not in tags:
        return None
    by_layer = {tag.rpartition("/")[2].replace("_", " "): _by_step(events, tag) for tag in layers}
    total = _by_step(events, TOTAL_NORM)
    steps = sorted(set(total).intersection(*by_layer.values()))
    return GradientNorms(
        np.array(steps),
        {layer: np.array([values[step] for step in steps]) for layer, values in by_layer.items()},
        np.array([total[step] for step in steps]),
    )


def _by_step(events: EventAccumulator, tag: str) -> dict[int, float]:
    """Values by update; of an update that was run again after a stop, the last."""
    return {event.step: event.value for event in events.Scalars(tag)}
