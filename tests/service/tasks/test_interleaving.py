"""Whatever several clients do to several sessions at once, each session gives bit for bit what it gives alone.

Scripts of observations, draws, texts, forecasts and forks run side by side in a service that can hold only a few
rows, by clients that hang up at odd moments and ask again, or ask twice at once; then each script runs alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.errors import Overloaded
from service.models.repository import Repository
from service.sessions.service import Service
from service.sessions.session import Session
from service.sessions.transition import NOTHING_EXPECTED, Expected
from service.tasks import forecast as series
from service.tasks import text
from tests.known_models import ALPHABET, NEXT_TOKEN, RUNNING_SUM
from tests.service.running import DurableJournal, opens, row_of, running
from tests.service.tasks.cycling import collect


@dataclass(frozen=True)
class Step:
    """One request of a script, and how its client behaves."""

    what: str
    values: tuple[float, ...] = ()
    text: str = ""
    count: int = 0
    stop: tuple[str, ...] = ()
    hangs_up_after: int | None = None
    twice: bool = False


def steps(*kinds: st.SearchStrategy[Step]) -> st.SearchStrategy[list[Step]]:
    manners = st.tuples(st.none() | st.integers(0, 12), st.booleans())

    def with_manners(step: Step, manners: tuple[int | None, bool]) -> Step:
        return Step(step.what, step.values, step.text, step.count, step.stop, *manners)

    return st.lists(st.builds(with_manners, st.one_of(*kinds), manners), min_size=1, max_size=6)


VALUES = st.lists(st.floats(-9, 9, width=32) | st.just(float("nan")), min_size=1, max_size=70).map(tuple)
TEXT = st.text(ALPHABET, min_size=1, max_size=70)
STOP = st.lists(st.text("abcd", min_size=1, max_size=3), max_size=2).map(tuple)
SERIES_STEPS = steps(
    st.builds(Step, st.just("observe"), VALUES),
    st.builds(Step, st.just("draw"), count=st.integers(1, 40)),
    st.builds(Step, st.just("look ahead"), count=st.integers(1, 20)),
    st.just(Step("fork")),
)
TEXT_STEPS = steps(
    st.builds(Step, st.just("write"), text=TEXT),
    st.builds(Step, st.just("tell"), count=st.integers(1, 60), stop=STOP),
    st.builds(Step, st.just("answer"), text=TEXT, count=st.integers(0, 40), stop=STOP),
    st.just(Step("fork")),
)


async def act(session: Session, step: Step, expected: Expected) -> bytes:
    """Carry a request out; its answer as bytes."""
    if step.what == "observe":
        seen = await series.observe(session, np.array(step.values, np.float32), expected=expected)
        return seen.quantiles.tobytes() + seen.pit.tobytes() + bytes(f"{seen.start} {seen.position}", "ascii")
    if step.what == "draw":
        return (await series.generate(session, step.count, expected=expected)).values.tobytes()
    if step.what == "look ahead":
        ahead = await series.forecast(session, series.ForecastRequest(step.count, samples=3))
        assert ahead.samples is not None
        return ahead.samples.tobytes() + bytes([ahead.position % 256])
    if step.what == "write":
        written = await text.observe_text(session, text=step.text, expected=expected)
        return written.log_probabilities.tobytes() + bytes(f"{written.start} {written.position}", "ascii")
    prompt = text.tokens_of(session.model, step.text, None)
    request = text.GenerateRequest(step.count, temperature=1.5, stop=step.stop)
    told = await collect(text.generate(session, request, prompt=prompt, expected=expected))
    return repr((told.text, told.tokens, told.finish_reason, told.position)).encode()


async def patient(request: Callable[[], Awaitable[bytes]]) -> bytes:
    """Ask again while the service has no room."""
    while True:
        try:
            return await request()
        except Overloaded:
            await asyncio.sleep(0.0005)


async def ask(session: Session, step: Step, rude: bool) -> bytes:
    if not rude:
        return await patient(lambda: act(session, step, NOTHING_EXPECTED))
    expected = Expected(session.position, f"from {session.position}")
    if step.hangs_up_after is not None:
        given_up = asyncio.create_task(act(session, step, expected))
        for _ in range(step.hangs_up_after):
            await asyncio.sleep(0)
        given_up.cancel()
        with suppress(asyncio.CancelledError, Overloaded):
            await given_up
    answers = await asyncio.gather(*(patient(lambda: act(session, step, expected)) for _ in range(1 + step.twice)))
    assert len(set(answers)) == 1
    return answers[0]


async def play(service: Service, session: Session, script: list[Step], *, rude: bool) -> list[bytes]:
    """Run a script; every answer and every final row and position, forks included, as bytes."""
    found: list[bytes] = []
    everyone = [session]
    for number, step in enumerate(script):
        if step.what != "fork":
            found.append(await ask(session, step, rude))
            continue

        async def fork(number: int = number) -> bytes:
            everyone.append(await service.store.fork(session.key, f"{session.id}.{number}", 1000 + number))
            return b""

        await patient(fork)
        follow_up = Step("observe", (1.5, 2.5)) if session.model.manifest.forecast else Step("tell", count=20)
        found.append(await ask(everyone[-1], follow_up, rude))
    for one in everyone:
        entry = service.journal.journal.load(one.id)
        assert entry is not None and (entry.position, entry.row) == (one.position, row_of(service, one))
        found += [row_of(service, one), bytes(str(one.position), "ascii")]
    return found


async def started(service: Service, number: int, script: list[Step]) -> Session:
    is_series = any(step.what in ("observe", "draw", "look ahead") for step in script)
    session = await opens(service, RUNNING_SUM if is_series else NEXT_TOKEN, id=f"s{number}", seed=number)
    if is_series:  # nothing can be drawn before the first value
        await series.observe(session, np.zeros(1, np.float32))
    return session


async def side_by_side(known: Repository, scripts: list[list[Step]], resident: int) -> list[list[bytes]]:
    async with running(known, resident_sessions=resident, journal=DurableJournal()) as service, asyncio.timeout(60):
        sessions = [await started(service, number, script) for number, script in enumerate(scripts)]
        played = (play(service, one, script, rude=True) for one, script in zip(sessions, scripts, strict=True))
        return await asyncio.gather(*played)


async def alone(known: Repository, number: int, script: list[Step]) -> list[bytes]:
    async with running(known, journal=DurableJournal()) as service:
        return await play(service, await started(service, number, script), script, rude=False)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(SERIES_STEPS | TEXT_STEPS, min_size=1, max_size=5), st.integers(1, 4))
def test_sessions_side_by_side_give_what_each_gives_alone(
    known: Repository, scripts: list[list[Step]], resident: int
) -> None:
    together = asyncio.run(side_by_side(known, scripts, resident))
    for number, script in enumerate(scripts):
        assert together[number] == asyncio.run(alone(known, number, script))
