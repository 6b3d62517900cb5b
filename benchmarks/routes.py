"""What is measured of a server: where it listens, and how it is asked for one step."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.inputs import step_inputs
from benchmarks.plain_http import prepared

_SESSION_NUMBERS = itertools.count(1)


class Server(Protocol):
    """A server that takes requests: its address `host:port`, and the process to watch, with its descendants."""

    @property
    def address(self) -> str: ...

    @property
    def process_id(self) -> int: ...


@dataclass(frozen=True)
class Route:
    """One-step requests of one protocol.

    Args:
        prepare: (address, sessions) → for each of so many new sessions, which it opens, a whole HTTP request.
        numbers: an answer's body → the quantiles in it.
        steps_taken: by `prepare`, where opening a session takes one.
    """

    name: str
    prepare: Callable[[str, int], list[bytes]]
    numbers: Callable[[bytes], Sequence[float]]
    steps_taken: int = 0


def new_session_numbers(count: int) -> list[int]:
    """Numbers that no session of this process has had."""
    return list(itertools.islice(_SESSION_NUMBERS, count))


def implicit_sessions(
    path: Callable[[int], str], body: Callable[[int, list[float]], Any]
) -> Callable[[str, int], list[bytes]]:
    """`prepare` for servers whose sessions begin with their first step.

    Args:
        path: session number → path.
        body: (session number, inputs) → what is sent as JSON.
    """

    def prepare(address: str, count: int) -> list[bytes]:
        return [
            prepared(path(number), json.dumps(body(number, step_inputs(index)), separators=(",", ":")).encode())
            for index, number in enumerate(new_session_numbers(count))
        ]

    return prepare
