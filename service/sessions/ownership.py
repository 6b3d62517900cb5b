"""Whose a session is, and the name it has below the protocols: its owner's, a slash, and the id that clients know.

Neither owners nor ids hold a slash, so that no id reaches into another owner's names: two owners may use one id, and
what another one has is simply not there. A session that was opened without an API key belongs to nobody, and its name
is its id. Store and journal are asked for keys alone, so that the types show who forgets to say whose session is meant.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NewType

SessionKey = NewType("SessionKey", str)
"""A session's name in store and journal; see `session_key`."""

SESSION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What API keys may be called."""


def session_key(owner: str | None, session_id: str) -> SessionKey:
    """The name of an owner's session; distinct for any two owners, whatever the id holds."""
    if owner is not None:
        return SessionKey(f"{owner}/{session_id}")
    # No session has such an id, and it must not be taken for the name of somebody's.
    return SessionKey("/" + session_id if "/" in session_id else session_id)


def public_id(key: SessionKey) -> str:
    """The id by which its owner knows the session."""
    return key.partition("/")[2] if "/" in key else key


def owner_of(key: SessionKey) -> str | None:
    """The name of the API key that the session belongs to; None where it is nobody's."""
    return key.partition("/")[0] or None if "/" in key else None


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose sessions a list or a clearance means: one owner's, nobody's where that is None, or everyone's."""

    owner: str | None
    everyone: bool = False

    @property
    def prefix(self) -> str:
        """What the names of all these sessions begin with; nobody's have in common only that no slash is in them."""
        return "" if self.everyone or self.owner is None else f"{self.owner}/"

    def include(self, key: SessionKey) -> bool:
        """Whether a session is one of them."""
        return self.everyone or owner_of(key) == self.owner


EVERYONES = Whose(None, everyone=True)
