"""What is asked of a session that is to be opened."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from service.engine.job import Durability


@dataclass(frozen=True)
class NewSession:
    """What is asked of a session that is to be opened; what is None is chosen here, but for its owner: it has none."""

    owner: str | None
    id: str | None = None
    seed: int | None = None
    first_timestamp: np.datetime64 | None = None
    time_to_live_s: float | None = None
    durability: Durability | None = None
    anomaly_threshold: float | None = None
    frequency: str | None = None
