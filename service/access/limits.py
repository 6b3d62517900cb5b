"""How much one API key may ask for: requests and steps in time, by token buckets, and sessions and streams at once.

Requests are counted as they come in, and refused where there is no token left. Steps are counted as they are handed to
the engine, whatever asked for them, and never refused half-way: a key that has taken more than there was is in debt,
and its next requests are refused until that is paid. Callers without a key share what the settings give a key.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Protocol

from service.access.caller import Caller, KeyLimits
from service.errors import RateLimited


class LimitWatch(Protocol):
    """What whoever counts is told of limits."""

    def on_limited(self, what: str) -> None:
        """A request was refused as its key has had its `requests`, `steps`, `sessions` or `streams`."""


class Bucket:
    """Tokens that come back at a rate, up to a burst; there may be fewer than none."""

    __slots__ = ("_at", "burst", "level", "rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate, self.burst = rate, burst
        self.level = burst
        self._at = now

    def refill(self, now: float) -> float:
        """The tokens that are there now."""
        self.level = min(self.burst, self.level + (now - self._at) * self.rate)
        self._at = now
        return self.level


class _Share:
    """What one key has left."""

    __slots__ = ("given", "limits", "requests", "steps", "streams")

    def __init__(self, given: KeyLimits, limits: KeyLimits, now: float) -> None:
        self.given = given
        self.limits = limits
        self.streams = 0
        rate, steps = limits.requests_per_s, limits.steps_per_s
        burst = limits.request_burst or max(1.0, rate or 0.0)
        self.requests = None if rate is None else Bucket(rate, burst, now)
        self.steps = None if steps is None else Bucket(steps, max(1.0, steps), now)


class Limits:
    """The limits of all keys. All methods belong to the event loop.

    Args:
        default: of every key, where its entry says nothing else; None of anything is no limit.
    """

    def __init__(self, default: KeyLimits, watch: LimitWatch, clock: Callable[[], float] = time.monotonic) -> None:
        self._default = default
        self._watch = watch
        self._clock = clock
        self._shares: dict[str | None, _Share] = {}

    def may_ask(self, who: Caller) -> bool:
        """Whether a request would be admitted now; none is counted."""
        share = self._share(who)
        return (share.requests is None and share.steps is None) or self._lacks(share) is None

    def count(self, who: Caller) -> None:
        """Count a request that was asked about before."""
        requests = self._share(who).requests
        if requests is not None:
            requests.level -= 1

    def admit(self, who: Caller) -> None:
        """Count a request.

        Raises:
            RateLimited: the key has to wait first.
        """
        share = self._share(who)
        if share.requests is None and share.steps is None:
            return
        lacking = self._lacks(share)
        if lacking is not None:
            self._refuse(who, *lacking)
        if share.requests is not None:
            share.requests.level -= 1

    def charge(self, owner: str | None, steps: int) -> None:
        """Count steps that are handed to the engine, which is never refused."""
        share = self._shares.get(owner)
        if share is not None and share.steps is not None:
            share.steps.refill(self._clock())
            share.steps.level -= steps

    def most_sessions(self, owner: str | None) -> int | None:
        """How many sessions a key may have at once; None where there is no limit, or no key."""
        share = self._shares.get(owner)
        return None if owner is None or share is None else share.limits.max_sessions

    def on_refused_session(self) -> None:
        """A key wanted one more session than it may have."""
        self._watch.on_limited("sessions")

    @contextmanager
    def stream(self, who: Caller) -> Iterator[None]:
        """Count one more WebSocket of a key while it is open.

        Raises:
            RateLimited: as many are open as may be.
        """
        share = self._share(who)
        most = share.limits.max_streams
        if most is not None and share.streams >= most:
            self._watch.on_limited("streams")
            raise RateLimited(f"{_whose(who)} has {share.streams} WebSockets open, of {most} that it may: close one")
        share.streams += 1
        try:
            yield
        finally:
            # By name, since the key's entry may have changed meanwhile.
            self._shares[who.name].streams -= 1

    def _share(self, who: Caller) -> _Share:
        share = self._shares.get(who.name)
        if share is None or (share.given is not who.limits and share.given != who.limits):
            share = self._renewed(who, share)
        return share

    def _renewed(self, who: Caller, before: _Share | None) -> _Share:
        """The share of a key that is new, or whose entry in the file has changed; debts are kept."""
        share = _Share(who.limits, _filled_in(who.limits, self._default), self._clock())
        if before is not None:
            share.streams = before.streams
            for now, then in ((share.requests, before.requests), (share.steps, before.steps)):
                if now is not None and then is not None:
                    now.level = min(now.burst, then.refill(self._clock()))
        self._shares[who.name] = share
        return share

    def _lacks(self, share: _Share) -> tuple[str, float] | None:
        """What the key has to wait for, and how many seconds."""
        now = self._clock()
        if share.steps is not None and (level := share.steps.refill(now)) < 0:
            return "steps", -level / share.steps.rate
        if share.requests is not None and (level := share.requests.refill(now)) < 1:
            return "requests", (1 - level) / share.requests.rate
        return None

    def _refuse(self, who: Caller, what: str, wait_s: float) -> None:
        self._watch.on_limited(what)
        limits = self._share(who).limits
        rate = limits.steps_per_s if what == "steps" else limits.requests_per_s
        raise RateLimited(
            f"{_whose(who)} may take {rate:g} {what} a second, and has had them: try again in {wait_s:.2g} seconds",
            retry_after_s=wait_s,
        )


def _filled_in(given: KeyLimits, default: KeyLimits) -> KeyLimits:
    chosen = {field.name: getattr(given, field.name) for field in fields(KeyLimits)}
    return KeyLimits(**{name: getattr(default, name) if value is None else value for name, value in chosen.items()})


def _whose(who: Caller) -> str:
    return "everyone without an API key together" if who.name is None else f"API key {who.name!r}"
