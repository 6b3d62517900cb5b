"""What the engines have counted, in the shape of Triton's statistics extension."""

from __future__ import annotations

from typing import Any

from service.engine.statistics import BatchStatistics, Duration
from service.models.model import Model
from service.protocols.context import Context
from service.protocols.inference_v2.metadata import find

_NEVER = Duration()
"""There is no response cache, so it is never hit and never missed."""


def statistics(context: Context, name: str = "", version: str = "") -> dict[str, Any]:
    """The counters of all models, of all versions of one, or of one version.

    Raises:
        ModelNotFound: there is none of that name and version.
    """
    chosen = context.service.repository.models()
    if name:
        find(context, name, version)
        chosen = [model for model in chosen if model.manifest.name == name]
    if version:
        chosen = [model for model in chosen if str(model.manifest.version) == version]
    return {"model_stats": [_of_model(context, model) for model in chosen]}


def _of_model(context: Context, model: Model) -> dict[str, Any]:
    counted = context.service.engines.of(model).statistics
    # The engine's thread goes on writing: its sizes are read once.
    batches = sorted(counted.batches.copy().items())
    return {
        "name": model.manifest.name,
        "version": str(model.manifest.version),
        "last_inference": int(counted.last_inference * 1000),
        "inference_count": counted.inferences,
        "execution_count": counted.executions,
        "inference_stats": {
            "success": _duration(counted.success),
            "fail": _duration(counted.fail),
            "queue": _duration(counted.queue),
            "compute_input": _duration(counted.gather),
            "compute_infer": _duration(counted.run),
            "compute_output": _duration(counted.answer),
            "cache_hit": _duration(_NEVER),
            "cache_miss": _duration(_NEVER),
        },
        "batch_stats": [_of_batch(size, batch) for size, batch in batches],
    }


def _of_batch(size: int, batch: BatchStatistics) -> dict[str, Any]:
    return {
        "batch_size": size,
        "compute_input": _duration(batch.gather),
        "compute_infer": _duration(batch.run),
        "compute_output": _duration(batch.answer),
    }


def _duration(duration: Duration) -> dict[str, int]:
    return {"count": duration.count, "ns": duration.ns}
