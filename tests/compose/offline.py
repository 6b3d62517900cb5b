"""What the steps of series should have been answered, all of them in one graph run: no service, no session, no pieces.

Run within the image, on its own onnxruntime, as `python -c`. Reads {"model", "first_timestamp", "values" (B, T)} and
prints {"quantiles" (B, T, Q), "pit" (B, T)}, null where there is none, as the service says it.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from service.models.device import Device
from service.models.model import Model
from service.tasks.series_inputs import calendar_input


def answers(asked: dict[str, Any]) -> dict[str, Any]:
    model = Model.load(Path("models") / asked["model"] / "1", Device("cpu"))
    task = model.manifest.forecast
    assert task is not None and task.calendar
    target = np.array(asked["values"], np.float32)  # (B, T)
    rows, steps = target.shape
    state = np.repeat(np.asarray(model.graphs["initial"].run({})["state"]), rows, axis=0)
    calendar = calendar_input(task, 0, steps, np.datetime64(asked["first_timestamp"]))["calendar"]
    inputs = {"state": state, "target": target, "calendar": np.repeat(calendar, rows, axis=0)}
    outputs = model.graphs["observe"].run(inputs)
    return {name: _with_nulls(np.asarray(outputs[name], np.float64)) for name in ("quantiles", "pit")}


def _with_nulls(array: Any) -> Any:
    if array.ndim <= 1 and np.isnan(array).all():
        return None
    return [_with_nulls(part) for part in array] if array.ndim else float(array)


print(json.dumps(answers(json.load(sys.stdin))))
