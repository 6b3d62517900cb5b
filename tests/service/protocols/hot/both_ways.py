"""The same request twice: below the application on one session, through it on another that stands at the same place."""

from __future__ import annotations

from itertools import count
from typing import Any

from tests.known_models import RUNNING_SUM
from tests.service.protocols.hot.noting import Noted
from tests.service.protocols.hot.raw import Answer, Raw, request
from tests.service.protocols.serving import Served

THROUGH = "TE: trailers"
"""A header that sends a request through the application and changes nothing else."""
_numbers = count()


class BothWays:
    """Two sessions that are asked the same, and the connections to ask them by."""

    def __init__(self, served: Served, noted: Noted, raw: Raw, model: str = RUNNING_SUM, **more: Any) -> None:
        number = next(_numbers)
        # As long as each other, so that whatever names them is, too.
        self.short, self.long = f"short{number:05d}", f"round{number:05d}"
        self._noted, self._raw = noted, raw
        for name in (self.short, self.long):
            served.open(model, id=self.session_id(name), seed=1, **more)

    def session_id(self, name: str) -> str:
        return name

    def path(self, name: str) -> str:
        return f"/v1/sessions/{name}/observe"

    def named(self, name: str, body: Any) -> Any:
        """The body as it is sent to one of the two."""
        return body

    def ask(self, body: Any, *headers: str | bytes, short: bool | None = True, **how: Any) -> Answer:
        """The answer below the application, after checking that it is the application's.

        Args:
            short: whether the short way is to be taken; None where that does not matter.
        """
        before = self._noted.all
        mine = self.ask_one(self.short, body, "X-Request-Id: same", *headers, **how)
        assert short in (None, self._noted.all > before), f"{body!r:.200} {headers}: {mine}"
        before = self._noted.all
        theirs = self.ask_one(self.long, body, THROUGH, "X-Request-Id: same", *headers, **how)
        assert self._noted.all == before, "the application was to be asked"
        expected = theirs.lasting.replace(self.long.encode(), self.short.encode())
        assert mine.lasting == expected, f"{body!r:.200} {headers}:\n{mine.lasting!r}\n{expected!r}"
        return mine

    def ask_one(self, name: str, body: Any, *headers: str | bytes, **how: Any) -> Answer:
        return self._raw.ask(request(self.path(name), self.named(name, body), *headers, **how))


class BothSequences(BothWays):
    """The same for sequences of the Open Inference Protocol."""

    def __init__(self, served: Served, noted: Noted, raw: Raw, model: str = RUNNING_SUM, **more: Any) -> None:
        self._model = model
        super().__init__(served, noted, raw, model, **more)

    def session_id(self, name: str) -> str:
        return f"{self._model}:{name}"

    def path(self, name: str) -> str:
        return f"/v2/models/{self._model}/infer"

    def named(self, name: str, body: Any) -> Any:
        if isinstance(body, bytes):
            return body.replace(b"SEQUENCE", name.encode())
        return body | {"parameters": {"sequence_id": name} | body.get("parameters", {})}
