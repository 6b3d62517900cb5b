"""One request, one transition: what a client expects of it, and what a session remembers of its last.

A client that sends the position it expects, or an idempotency key, may send the same request again after a lost
answer: it is applied once, and the recorded answer comes back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Expected:
    """What a client says of the session it means: the position before the request, a key of its own, both or none."""

    position: int | None = None
    key: str | None = None

    def digest(self, operation: str, **content: Any) -> bytes:
        """The digest of a request's content; empty for a client that cannot ask for the same again."""
        return b"" if self.position is None and self.key is None else digest_of(operation, **content)


NOTHING_EXPECTED = Expected()


@dataclass(frozen=True, slots=True)
class Transition:
    """A session's last transition, as far as it is committed.

    Args:
        start: the position it began at.
        taken: observations or tokens taken in so far.
        key: the client's idempotency key.
        digest: of the request's content.
        outputs: the graph's outputs so far, (t, …) each.
        complete: whether the answer is whole; a generation that was cut short may be continued by the same request.
        note: what the task needs to render the recorded answer.
    """

    start: int
    taken: int
    key: str | None
    digest: bytes
    outputs: Mapping[str, NDArray[Any]]
    complete: bool
    note: Mapping[str, Any] = field(default_factory=dict)

    @property
    def position(self) -> int:
        """Where the session stands after it."""
        return self.start + self.taken


def digest_of(operation: str, **content: Any) -> bytes:
    """A digest of a request's content; arrays count by dtype, shape and bytes, everything else by its repr."""
    digest = hashlib.blake2b(operation.encode(), digest_size=16)
    for name in sorted(content):
        value = content[name]
        digest.update(b"\0" + name.encode() + b"\0")
        for part_name, part in sorted(value.items()) if isinstance(value, Mapping) else [("", value)]:
            digest.update(part_name.encode() + b"\1")
            if isinstance(part, np.ndarray):
                digest.update(f"{part.dtype.str}{part.shape}".encode() + part.tobytes())
            else:
                digest.update(repr(part).encode())
    return digest.digest()
