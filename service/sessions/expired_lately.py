"""The names of sessions that expired lately, so that whoever asks is told 410 and not 404."""

from __future__ import annotations

from collections import OrderedDict

from service.sessions.ownership import SessionKey

_MOST = 100_000


class ExpiredLately:
    """The last names, up to a bound."""

    def __init__(self) -> None:
        self._keys: OrderedDict[SessionKey, None] = OrderedDict()

    def __contains__(self, key: SessionKey) -> bool:
        return key in self._keys

    def add(self, key: SessionKey) -> None:
        """Remember one, and forget the oldest past the bound."""
        self._keys[key] = None
        if len(self._keys) > _MOST:
            self._keys.popitem(last=False)

    def discard(self, key: SessionKey) -> None:
        """Forget one, whose name is in use again."""
        self._keys.pop(key, None)
