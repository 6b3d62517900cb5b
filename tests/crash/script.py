"""What a client does in its session: a random script of steps, each as a request and as a WebSocket frame."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from tests.known_models import NEXT_TOKEN, RUNNING_SUM

_FORGOTTEN = ("durable_position", "repeated", "restored", "type", "id", "finish_reason")
"""What may differ between an answer and the same answer told again."""


@dataclass(frozen=True)
class Step:
    """One transition: the route's last part, which is the frame's type, and the body."""

    what: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Script:
    """One session: its id, model and seed, and how it is used."""

    session_id: str
    model: str
    seed: int
    by_websocket: bool
    steps: list[Step]


def scripts(sessions: int, steps: int, seed: int) -> list[Script]:
    """Scripts of so many sessions, half of them texts, half of them over WebSockets."""
    chance = random.Random(seed)
    found = []
    for number in range(sessions):
        model = (RUNNING_SUM, NEXT_TOKEN)[number % 2]
        make = _series_step if model == RUNNING_SUM else _text_step
        todo = [make(chance) for _ in range(steps)]
        if model == RUNNING_SUM:  # nothing is drawn before the first value
            todo[0] = Step("observe", {"values": [round(chance.gauss(0, 10), 3)]})
        found.append(Script(f"s{number}", model, chance.randrange(2**40), number % 4 >= 2, todo))
    return found


def _series_step(chance: random.Random) -> Step:
    if chance.random() < 0.2:
        return Step("generate", {"steps": chance.randint(1, 4)})
    values = [None if chance.random() < 0.1 else round(chance.gauss(0, 10), 3) for _ in range(chance.randint(1, 4))]
    return Step("observe", {"values": values})


def _text_step(chance: random.Random) -> Step:
    if chance.random() < 0.5:
        return Step("generate", {"max_tokens": chance.randint(1, 40), "temperature": 1.5})
    return Step("observe", {"text": "".join(chance.choices("abcde", k=chance.randint(1, 20)))})


def lasting(answer: dict[str, Any]) -> dict[str, Any]:
    """What must be the same however often, and wherever, an answer is told."""
    return {name: value for name, value in answer.items() if name not in _FORGOTTEN}
