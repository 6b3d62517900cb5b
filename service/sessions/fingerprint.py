"""What tells models apart that have the same name and version, and whether two can go on from each other's rows."""

from __future__ import annotations

import hashlib
from typing import NamedTuple
from weakref import WeakKeyDictionary

from service.models.model import Model
from service.sessions.snapshot import digest_of_model

_BYTES = 8


class Fingerprint(NamedTuple):
    """A few bytes that depend on a model's graphs and weights, and a few that depend on what its rows hold."""

    computes: bytes
    layout: bytes


_known: WeakKeyDictionary[Model, Fingerprint] = WeakKeyDictionary()


def fingerprint(model: Model) -> Fingerprint:
    """The fingerprint of a model; made once."""
    found = _known.get(model)
    if found is None:
        manifest = model.manifest
        tokenizer = manifest.tokens.tokenizer.sha256 if manifest.tokens else ""
        layout = f"{manifest.task} {tokenizer} {manifest.state.model_dump_json()}"
        found = _known[model] = Fingerprint(
            bytes.fromhex(digest_of_model(manifest))[:_BYTES], hashlib.sha256(layout.encode()).digest()[:_BYTES]
        )
    return found
