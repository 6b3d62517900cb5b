"""What tells a model from another of the same name and version that computes something else."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from service.models.model import Model
from service.sessions.snapshot import digest_of_model

_BYTES = 8
_known: WeakKeyDictionary[Model, bytes] = WeakKeyDictionary()


def fingerprint(model: Model) -> bytes:
    """A few bytes that depend on the model's graphs and weights."""
    found = _known.get(model)
    if found is None:
        found = _known[model] = bytes.fromhex(digest_of_model(model.manifest))[:_BYTES]
    return found
