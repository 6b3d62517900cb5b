from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.access.caller import ANYONE, RIGHTS, Caller, KeyLimits
from service.access.limits import Limits
from service.errors import RateLimited


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Watch:
    def __init__(self) -> None:
        self.limited: Counter[str] = Counter()

    def on_limited(self, what: str) -> None:
        self.limited[what] += 1


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch() -> Watch:
    return Watch()


def limits(clock: Clock, watch: Watch | None = None, **default: float | int) -> Limits:
    return Limits(KeyLimits(**default), watch or Watch(), clock)  # type: ignore[arg-type]


def key(name: str = "plant", **given: float | int) -> Caller:
    return Caller(name, RIGHTS, KeyLimits(**given))  # type: ignore[arg-type]


def admitted(rates: Limits, who: Caller, most: int = 1000) -> int:
    """How many requests are admitted before one is refused."""
    for count in range(most):
        try:
            rates.admit(who)
        except RateLimited:
            return count
    return most


def test_without_limits_everything_is_admitted(clock: Clock) -> None:
    rates = limits(clock)
    assert admitted(rates, key()) == admitted(rates, ANYONE) == 1000
    rates.charge("plant", 10**9)
    assert rates.may_ask(key()) and rates.most_sessions("plant") is None


def test_a_burst_is_admitted_and_then_so_many_a_second(clock: Clock) -> None:
    rates = limits(clock, requests_per_s=10, request_burst=25)
    assert admitted(rates, key()) == 25
    clock.now += 0.5
    assert admitted(rates, key()) == 5
    clock.now += 1000
    assert admitted(rates, key()) == 25


def test_a_burst_is_one_seconds_worth_and_one_at_least(clock: Clock) -> None:
    assert admitted(limits(clock, requests_per_s=7), key()) == 7
    assert admitted(limits(clock, requests_per_s=0.1), key()) == 1


def test_who_is_refused_is_told_when_to_come_again(clock: Clock, watch: Watch) -> None:
    rates = limits(clock, watch, requests_per_s=0.5)
    admitted(rates, key())
    with pytest.raises(RateLimited, match="'plant' may take 0.5 requests a second") as refused:
        rates.admit(key())
    assert refused.value.retry_after_s == pytest.approx(2.0) and watch.limited["requests"] == 2
    clock.now += refused.value.retry_after_s
    rates.admit(key())


def test_keys_do_not_share_and_callers_without_one_do(clock: Clock) -> None:
    rates = limits(clock, requests_per_s=5)
    assert [admitted(rates, who) for who in (key("a"), key("b"), ANYONE, ANYONE)] == [5, 5, 5, 0]


def test_a_keys_own_entry_wins(clock: Clock) -> None:
    rates = limits(clock, requests_per_s=5, max_sessions=3)
    assert admitted(rates, key("a", requests_per_s=50)) == 50
    assert admitted(rates, key("b", request_burst=2)) == 2
    admitted(rates, key("c", max_sessions=0))
    assert [rates.most_sessions(name) for name in ("a", "b", "c", None)] == [3, 3, 0, None]


def test_steps_are_never_refused_but_have_to_be_paid(clock: Clock, watch: Watch) -> None:
    rates = limits(clock, watch, steps_per_s=100)
    rates.admit(key())
    rates.charge("plant", 350)
    with pytest.raises(RateLimited, match="100 steps a second") as refused:
        rates.admit(key())
    assert refused.value.retry_after_s == pytest.approx(2.5) and watch.limited["steps"] == 1
    clock.now += 2.6
    rates.admit(key())


def test_others_steps_are_not_charged(clock: Clock) -> None:
    rates = limits(clock, steps_per_s=100)
    for who in (key("a"), key("b"), ANYONE):
        rates.admit(who)
    rates.charge("a", 1000)
    rates.charge("unknown", 1000)
    assert [rates.may_ask(who) for who in (key("a"), key("b"), ANYONE)] == [False, True, True]


def test_asking_whether_costs_nothing(clock: Clock) -> None:
    rates = limits(clock, requests_per_s=3)
    assert all(rates.may_ask(key()) for _ in range(100))
    for _ in range(3):
        rates.count(key())
    assert not rates.may_ask(key())


def test_a_new_entry_of_a_key_counts_at_once_and_keeps_its_debts(clock: Clock) -> None:
    rates = limits(clock)
    assert admitted(rates, key(requests_per_s=10)) == 10
    assert admitted(rates, key(requests_per_s=1000)) == 0
    clock.now += 0.125
    assert admitted(rates, key(requests_per_s=1000)) == 125


def test_streams_are_counted_while_they_are_open(clock: Clock, watch: Watch) -> None:
    rates = limits(clock, watch, max_streams=2)
    with rates.stream(key()):
        with rates.stream(key()), pytest.raises(RateLimited, match="2 WebSockets open"):
            with rates.stream(key()):
                pass
        rates.admit(key(max_streams=9))
        with rates.stream(key(max_streams=9)), rates.stream(key(max_streams=9)), rates.stream(key("other")):
            pass
    with rates.stream(key()), rates.stream(key()):
        assert watch.limited["streams"] == 1


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 30)), max_size=50), st.floats(0.5, 20), st.integers(1, 50))
def test_over_any_time_no_more_is_admitted_than_the_burst_and_the_rate_allow(
    visits: list[tuple[float, int]], rate: float, burst: int
) -> None:
    clock = Clock()
    rates, started, count = limits(clock, requests_per_s=rate, request_burst=burst), clock.now, 0
    for pause, asked in visits:
        clock.now += pause
        count += admitted(rates, key(), asked)
        assert count <= burst + rate * (clock.now - started) + 1e-6
