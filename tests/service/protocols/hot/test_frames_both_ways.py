"""Messages over a session's WebSocket, in JSON and binary: answered with the same frames both ways."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.known_graphs import FAILING_VALUE
from tests.known_models import NEXT_TOKEN
from tests.service.protocols.hot.frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Came,
    frame,
    in_parts,
    observing,
    steps,
    streaming,
)
from tests.service.protocols.hot.noting import Noted
from tests.service.protocols.hot.raw import all_quiet
from tests.service.protocols.serving import CALENDAR_SUM, COVARIATE_SUM, Served

_numbers = count()
Message = bytes | str


@pytest.fixture(autouse=True)
def nothing_is_left(served: Served) -> Iterator[None]:
    yield
    all_quiet(served)


def answers_both_ways(
    served: Served, noted: Noted, messages: Sequence[Message], short: bool = True, **opening: Any
) -> list[Came]:
    """What each message is answered by, after checking that the application alone gives the same answers."""
    spoken: list[list[Came]] = []
    for only_application in (False, True):
        name = served.open(id=f"frames{next(_numbers):05d}", seed=1, **opening)
        before, came = noted.all, []
        with streaming(served, name) as socket:
            for message in messages:
                came.append(socket.ask(in_parts(message, 1) if only_application else frame(message)))
                if came[-1][0] == TEXT and b'"error"' in came[-1][1]:
                    break  # which may have ended the connection
        assert (noted.all > before) is (short and not only_application)
        spoken.append([(opcode, _lasting(payload, name)) for opcode, payload in came])
    assert spoken[0] == spoken[1]
    return spoken[0]


def _lasting(payload: bytes, session: str) -> bytes:
    """An answer without what no two sessions have in common."""
    if payload.startswith(b'{"type":"session"'):
        payload = re.sub(rb'"(created|expires)":[^,]*,', b"", payload)
    return payload.replace(session.encode(), b"SESSION")


@pytest.mark.parametrize(
    "messages",
    [
        [observing(1), observing(2.5, None), observing(*range(300))],
        [observing(1, id=7), observing(2, id="mine"), observing(3, id='"\u00e9\n'), observing(4, id=None)],
        [observing(1, id=2**63), observing(1, id=-(2**63)), observing(1, id=2**80)],
        [observing(1, position=0), observing(2, position=1), observing(3, position=None)],
        [observing(1, position=0), observing(1, position=0)],
        [' {"values":[1] , "type":"observe"}\r\n'],
        [steps((1,)), steps((2,), (math.nan,), number=2**32 - 1), steps(*([(0.5,)] * 300))],
        [steps((1,), position=0), steps((2,), position=1), steps((2,), position=1)],
        [observing(1), steps((2,)), observing(3)],
        [observing(1), '{"type":"session"}', observing(2), '{"type":"forecast","horizon":2}', steps((3,))],
    ],
)
def test_steps_are_answered_with_the_same_frames(served: Served, noted: Noted, messages: list[Message]) -> None:
    came = answers_both_ways(served, noted, messages)
    assert len(came) == len(messages)
    kinds = [BINARY if isinstance(message, bytes) else TEXT for message in messages]
    assert [opcode for opcode, _ in came] == kinds


@pytest.mark.parametrize(
    "message",
    [
        "",
        "{",
        "[1]",
        '{"type":"observe"}',
        '{"values":[1]}',
        '{"type":"nothing"}',
        observing(),
        observing(1e37),
        observing(1, position=5, id=3),
        observing(1, position=-1),
        observing(1, id=1.5),
        observing(1, idempotency_key=""),
        observing(1, future_covariates={"temperature": [1]}),
        observing(1, timestamps=["no"], id="t"),
        observing(*[0.5] * 2001, id=4),
        '{"type":"observe","values":[NaN]}',
        '{"type":"observe","type":"session","values":[1]}',
        '{"type":"observe","values":["\\ud800"]}',
        b"",
        b"UN",
        steps((1,))[:-1],
        steps((1,)) + b"\0",
        b"XX" + steps((1,))[2:],
        steps((1, 2)),
        steps((math.inf,)),
        steps((1.1e36,)),
        steps((1,), position=7, number=9),
        steps((1,), position=-2),
        steps(*[(0.5,)] * 2001),
    ],
)
def test_what_is_wrong_is_told_by_the_application_alone(served: Served, noted: Noted, message: Message) -> None:
    [(opcode, payload)] = answers_both_ways(served, noted, [message], short=False)
    assert opcode == TEXT and json.loads(payload)["type"] == "error"


@pytest.mark.parametrize(
    "message",
    [
        observing(1, idempotency_key="mine"),
        observing(1, timestamps=["2026-01-01T00:00:00Z"]),
        observing(1, future_covariates={}),
    ],
)
def test_what_is_not_plain_is_the_applications(served: Served, noted: Noted, message: Message) -> None:
    first, _ = answers_both_ways(served, noted, [message, '{"type":"session"}'], short=False)
    assert json.loads(first[1])["position"] == 1


def test_covariates_and_calendars_are_taken_in(served: Served, noted: Noted) -> None:
    with_covariate: list[Message] = [
        observing(1, 2, future_covariates={"temperature": [3, None]}),
        steps((1, 2), (math.nan, 3)),
    ]
    answers_both_ways(served, noted, with_covariate, model=COVARIATE_SUM)
    answers_both_ways(served, noted, [steps((1,))], short=False, model=COVARIATE_SUM)
    dated: list[Message] = [observing(1), steps((2,), (3,))]
    answers_both_ways(served, noted, dated, model=CALENDAR_SUM, first_timestamp="2026-03-01T05:00:00Z")
    answers_both_ways(served, noted, [observing(1)], short=False, model=CALENDAR_SUM)
    answers_both_ways(served, noted, [steps((1,))], short=False, model=NEXT_TOKEN)


@pytest.mark.parametrize("message", [observing(FAILING_VALUE, id="f"), steps((FAILING_VALUE,), number=8)])
def test_a_step_that_fails_is_told_the_same_both_ways(served: Served, noted: Noted, message: Message) -> None:
    said = []
    for only_application in (False, True):
        name = served.open(id=f"frames{next(_numbers):05d}")
        with streaming(served, name) as socket:
            socket.ask(frame(observing(1)))
            socket.send(in_parts(message, 1) if only_application else frame(message))
            said.append(socket.rest())
        assert served.position(name) == 1
    assert said[0] == said[1] and noted.errors == 1
    assert [opcode for opcode, _ in said[0]] == [TEXT, CLOSE]


@st.composite
def one_message(draw: st.DrawFn) -> bytes:
    """Frames that are one message or one control frame, plain or not, good or about to be refused."""
    kind = draw(st.sampled_from(["json"] * 4 + ["binary"] * 3 + ["session", "ping", "pong", "late", "parts"]))
    values = draw(st.lists(st.one_of(st.none(), st.floats(-1, 1), st.integers(-5, 5)), min_size=1, max_size=3))
    number = draw(st.integers(0, 9))
    if kind == "session":
        return frame('{"type":"session","id":"s"}')
    if kind == "ping":
        return frame(b"ping", PING)
    if kind == "pong":
        return frame(b"pong", PONG)
    if kind == "late":
        return frame(observing(1, position=1000 + number, id=number))
    if kind == "binary":
        return frame(steps(*[(math.nan if value is None else value,) for value in values], number=number))
    text = observing(*values, id=number)
    return in_parts(text, draw(st.integers(1, len(text) - 1))) if kind == "parts" else frame(text)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=st.lists(one_message(), min_size=1, max_size=8), data=st.data())
def test_any_mixture_cut_anyhow_is_answered_alike(
    served: Served, noted: Noted, messages: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(messages) + frame("{")  # which ends the connection
    cuts = [0, *sorted(data.draw(st.sets(st.integers(1, len(stream) - 1), max_size=8))), len(stream)]
    mine = _said_to_pieces(served, noted, [stream[start:end] for start, end in zip(cuts, cuts[1:], strict=False)])
    with noted.through_the_application():
        theirs = _said_to_pieces(served, noted, [stream])
    assert mine == theirs


def _said_to_pieces(served: Served, noted: Noted, pieces: list[bytes]) -> tuple[list[Came], int]:
    """The frames that come for these pieces, but for what answers pings, which may come before its turn."""
    name = served.open(id=f"frames{next(_numbers):05d}", seed=1)
    with streaming(served, name) as socket:
        noted.receive_at(socket.raw, pieces)
        came = socket.rest()
    pongs = sum(opcode == PONG for opcode, _ in came)
    return [(opcode, _lasting(payload, name)) for opcode, payload in came if opcode != PONG], pongs
