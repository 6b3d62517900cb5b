"""Stop strings: where a generated text ends, found as tokens arrive.

Text that may be the beginning of a stop string is held back until it is known not to be. Strings are matched on
characters, so a stop string is found however the tokenizer cuts it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from service.models.tokenizer import StreamDecoder


class StopMatcher:
    """Follows one generated text.

    Args:
        decoder: turns the tokens into text; the matcher is its only user.
    """

    def __init__(self, decoder: StreamDecoder, stops: Sequence[str]) -> None:
        self._decoder = decoder
        self._stops = stops
        self._held = ""
        self._text: list[str] = []
        self.stopped_by: str | None = None

    @property
    def pending(self) -> bytes:
        """The bytes of a character begun and not yet complete."""
        return self._decoder.pending

    def feed(self, tokens: Iterable[int]) -> int:
        """Take tokens in up to the one that completes a stop string; returns how many were taken."""
        if not self._stops:
            given = list(tokens)
            self._text.append(self._decoder.feed(given))
            return len(given)
        taken = 0
        for token in tokens:
            taken += 1
            self._held += self._decoder.feed([token])
            if self._find_stop():
                return taken
            self._release()
        return taken

    def take_text(self) -> str:
        """The text that is certain and was not taken before; the stop string is no part of it."""
        text = "".join(self._text)
        self._text.clear()
        return text

    def finish(self) -> None:
        """Nothing follows: what was held back as a possible beginning of a stop string is text after all."""
        self._text.append(self._held)
        self._held = ""

    def flush(self) -> None:
        """Nothing follows, ever: a character that was cut becomes U+FFFD."""
        self._held += self._decoder.flush()
        self.finish()

    def _find_stop(self) -> bool:
        found = [(index + len(stop), index, stop) for stop in self._stops if (index := self._held.find(stop)) >= 0]
        if not found:
            return False
        # The one that ends first, so that it does not matter how many characters a token brings at once.
        _, index, self.stopped_by = min(found)
        self._text.append(self._held[:index])
        self._held = ""
        return True

    def _release(self) -> None:
        """Let go of what can no longer become a stop string."""
        longest = min(len(self._held), max((len(stop) for stop in self._stops), default=1) - 1)
        for length in range(longest, 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self._stops):
                self._text.append(self._held[:-length])
                self._held = self._held[-length:]
                return
        self._text.append(self._held)
        self._held = ""
