"""What the journal keeps of a session beside its row."""

from __future__ import annotations

import msgspec
import numpy as np

from service.engine.job import Durability
from service.sessions.places import Checkpoint
from service.sessions.transition import Transition


class Record(msgspec.Struct, frozen=True, array_like=True):
    """What the journal keeps of a session besides its row. New fields go to the end and have a default."""

    model_id: str
    position: int
    seed: int
    first_timestamp: np.datetime64 | None
    text_pending: bytes
    last: Transition | None
    time_to_live_s: float
    created: float
    durability: Durability
    computes: bytes
    """Of the model's fingerprint: a version may have been replaced by another of its number."""
    layout: bytes
    """Of the model's fingerprint: versions with the same one go on from each other's rows."""
    recent: bytes = b""
    """Of text, the last tokens; see `service.sessions.recent`."""
    checkpoints: tuple[Checkpoint, ...] = ()
    """Of the entry of a session's checkpoints, which ones; none in that of the session. See `places`."""
    anomaly_threshold: float | None = None
    frequency: str | None = None
    """Between two steps, where a client has told it of a series whose model only counts them."""
