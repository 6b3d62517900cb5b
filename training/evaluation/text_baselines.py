"""Baselines for text: uniform, single characters, and a back-off model of five characters.

All count characters of the training text and are measured on the held-out text, in nats per character, with
one class more than the training text has characters for whatever it lacks.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict

CONTEXT = 4  # characters before the one predicted: a five-gram


def text_baselines(training_text: str, held_out: str) -> dict[str, dict[str, float]]:
    """Each baseline's figures by name: nats and bits per character on the held-out text."""
    classes = len(set(training_text)) + 1
    nats = {
        "uniform": math.log(classes),
        "unigram": WittenBell(training_text, 0, classes).nats_per_character(held_out),
        "five_gram": WittenBell(training_text, CONTEXT, classes).nats_per_character(held_out),
    }
    return {name: {"nats_per_character": n, "bits_per_character": n / math.log(2)} for name, n in nats.items()}


class WittenBell:
    """Character counts after every context, shortened step by step where a context is rare.

    p(c | context) = (count(context c) + kinds(context) · p(c | shorter context)) / (count(context) + kinds(context)),
    where kinds(context) is how many different characters followed it (Witten and Bell, 1991).
    """

    def __init__(self, text: str, context: int, classes: int) -> None:
        self.context, self.classes = context, classes
        self.counts = [Counter(text[i : i + n + 1] for i in range(len(text) - n)) for n in range(context + 1)]
        self.totals = [self._totals(counts) for counts in self.counts]

    @staticmethod
    def _totals(counts: Counter[str]) -> dict[str, tuple[int, int]]:
        """For every context: how often it occurred, and how many kinds of characters followed."""
        totals: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for sequence, count in counts.items():
            total = totals[sequence[:-1]]
            total[0] += count
            total[1] += 1
        return {context: (total[0], total[1]) for context, total in totals.items()}

    def probability(self, character: str, before: str) -> float:
        """Probability of a character after the text before it."""
        p = 1 / self.classes
        for n in range(min(self.context, len(before)) + 1):
            context = before[len(before) - n :]
            if context not in self.totals[n]:
                break
            total, kinds = self.totals[n][context]
            p = (self.counts[n][context + character] + kinds * p) / (total + kinds)
        return p

    def nats_per_character(self, text: str) -> float:
        """Mean loss over a text, each character predicted from those before it."""
        logs = (math.log(self.probability(c, text[max(0, i - self.context) : i])) for i, c in enumerate(text))
        return -sum(logs) / len(text)
