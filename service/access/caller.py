"""The caller of the request that is being answered: whose key it came with, and what that may ask for.

Set where a request enters, and never guessed: where nobody has set it, asking for it is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, get_args

from service.engine.owner import working_for
from service.errors import NotAllowed
from service.sessions.ownership import SessionKey, session_key

Right = Literal["predict", "sessions", "admin"]
"""`predict`: requests without a session, models and their metadata. `sessions`: all that has a session.
`admin`: load, unload and reload models, metrics, and the sessions of all owners in lists and to close."""
RIGHTS: frozenset[Right] = frozenset(get_args(Right))


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """Bounds of one key in place of those that the settings give every key; None leaves the setting's."""

    requests_per_s: float | None = None
    request_burst: int | None = None
    steps_per_s: float | None = None
    max_sessions: int | None = None
    max_streams: int | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom requests come from.

    Args:
        name: of the API key, which owns the sessions it opens; None where no keys are asked for.
    """

    name: str | None
    rights: frozenset[Right]
    limits: KeyLimits = KeyLimits()

    def require(self, right: Right) -> None:
        """Raises NotAllowed where the caller does not have this right."""
        if right not in self.rights:
            self.require_any([right])

    def require_any(self, rights: Sequence[str]) -> None:
        """Raises NotAllowed where the caller has none of these rights."""
        if self.rights.isdisjoint(rights):
            held = ", ".join(sorted(self.rights))
            raise NotAllowed(
                f"this needs an API key with the right {' or '.join(rights)}; key {self.name!r} has {held}"
            )

    def own(self, session_id: str) -> SessionKey:
        """The name of the caller's session by that id, whether there is one or not.

        Raises:
            NotAllowed: sessions are none of this caller's business.
        """
        if "sessions" not in self.rights:
            self.require("sessions")
        return session_key(self.name, session_id)


ANYONE = Caller(None, RIGHTS)
"""Where no keys are asked for: everybody may do everything, and owns what belongs to nobody."""

caller: ContextVar[Caller] = ContextVar("caller")


def enter(who: Caller) -> None:
    """From here on, what is done is done for this caller."""
    caller.set(who)
    working_for.set(who.name)


def own(session_id: str) -> SessionKey:
    """The name of the present caller's session by that id; raises as `Caller.own` does."""
    return caller.get().own(session_id)


def owner() -> str | None:
    """Whom a session belongs to that the present caller opens.

    Raises:
        NotAllowed: sessions are none of this caller's business.
    """
    require("sessions")
    return caller.get().name


def require(right: Right) -> None:
    """Raises NotAllowed where the present caller does not have this right."""
    caller.get().require(right)
