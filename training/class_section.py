"""What the card of a classifier shows: each class's scores, what is taken for what, and how soon it knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.evaluation.class_plots import plot_arrival, plot_confusion
from training.evaluation.classification import ClassScore

CONFUSION_FILE, ARRIVAL_FILE = "confusion.png", "arrival.png"


@dataclass(frozen=True)
class ClassSection:
    """What is drawn and tabled.

    Args:
        evaluated: in words: on what, and how it was chosen.
        confusion: (C, C) counts, a row for each class that was right.
        accuracy_by_step: for each number of tokens read the accuracy, and how many sequences are so long; none where
            every token has a label.
    """

    evaluated: str
    scores: Sequence[ClassScore]
    confusion: Sequence[Sequence[int]]
    accuracy_by_step: Sequence[tuple[int, float, int]]

    def render(self, folder: Path) -> tuple[str, list[Path]]:
        """Markdown, and the plots that it shows, drawn into a folder."""
        plot_confusion(folder / CONFUSION_FILE, self.confusion, [score.label for score in self.scores])
        parts, files = [], [folder / CONFUSION_FILE]
        if self.accuracy_by_step:
            plot_arrival(folder / ARRIVAL_FILE, self.accuracy_by_step)
            files.append(folder / ARRIVAL_FILE)
            parts.append(f"## As it arrives\n\n{self._arrival()}\n\n![Accuracy by tokens read]({ARRIVAL_FILE})\n")
        parts.append(f"## By class\n\n{self._table()}\n![What was told for each class]({CONFUSION_FILE})\n")
        return "\n".join(parts), files

    def _arrival(self) -> str:
        best = max(accuracy for _, accuracy, _ in self.accuracy_by_step)
        soon = next(steps for steps, accuracy, _ in self.accuracy_by_step if accuracy >= 0.95 * best)
        first = self.accuracy_by_step[0][1]
        return (
            f"Asked after every token, among the sequences that have so many: {first:.1%} are right after the first, "
            f"and from token {soon} on 95 % of the highest accuracy is reached."
        )

    def _table(self) -> str:
        rows = "".join(
            f"| {score.label} | {score.count} | {score.precision:.2f} | {score.recall:.2f} | {score.f1:.2f} |\n"
            for score in sorted(self.scores, key=lambda score: -score.count)
        )
        return f"| class | held out | precision | recall | F1 |\n| --- | ---: | ---: | ---: | ---: |\n{rows}"
