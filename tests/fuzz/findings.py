"""What fuzzing has sent and seen, and what was wrong with it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

_SHOWN = 600
_ENOUGH = 50
"""Findings kept; more of them say nothing new."""


@dataclass(frozen=True)
class Finding:
    """Something that may not happen, and the input it happened after."""

    door: str
    what: str
    sent: bytes

    def __str__(self) -> str:
        sent = repr(self.sent if len(self.sent) <= _SHOWN else self.sent[:_SHOWN] + b"...")
        return f"{self.door}: {self.what}\n    after {sent}"


@dataclass
class Findings:
    """Inputs and answers by door, and what was wrong."""

    sent: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[Finding] = field(default_factory=list)

    def note(self, door: str, answer: str) -> None:
        """An input came in at a door, and that is how it was answered."""
        self.sent[door] += 1
        self.answers[f"{door} {answer}"] += 1

    def add(self, door: str, what: str, sent: bytes) -> None:
        if len(self.wrong) < _ENOUGH:
            self.wrong.append(Finding(door, what, sent))

    def check_status(self, door: str, status: int, retry_after: bool, sent: bytes) -> None:
        """Judge an HTTP answer: of the 5xx only an honest 503 may be one, which says when to ask again."""
        self.note(door, str(status))
        if status >= 500 and not (status == 503 and retry_after):
            self.add(door, f"answered {status}", sent)

    def __str__(self) -> str:
        counts = ", ".join(f"{door} {count:,}" for door, count in sorted(self.sent.items()))
        answers = "\n".join(f"  {answer:<40} {count:>9,}" for answer, count in sorted(self.answers.items()))
        return "\n".join([f"inputs: {counts}", answers, f"wrong: {len(self.wrong)}", *map(str, self.wrong)])
