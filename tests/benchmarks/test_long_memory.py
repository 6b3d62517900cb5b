"""The figure of long memory goes on where it stopped, and a lag that was not solved ends a learner's row."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from benchmarks import long_memory
from training.tasks.sequence_learner import Attempt, Lesson


def test_what_the_file_has_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lessons: list[Lesson] = []

    def tried(task: object, lesson: Lesson) -> Attempt:
        lessons.append(lesson)
        return Attempt(lesson.lag <= 5, 7, 0.01 if lesson.lag <= 5 else 0.9)

    monkeypatch.setattr(long_memory, "attempt", tried)
    monkeypatch.setattr("os.nice", lambda by: None)
    flags = ["--results", str(tmp_path / "found.csv"), "--figure", str(tmp_path / "found.png")]
    flags += ["--lags", "5", "9", "20", "--tasks", "adding", "--window", "4"]
    long_memory.main(flags)
    # Each of the learners, full and truncated: lag 5 once, lag 9 with every seed, lag 20 never.
    assert len(lessons) == 2 * len(long_memory.LEARNERS) * (1 + long_memory.TRIES)
    assert {lesson.lag for lesson in lessons} == {5, 9} and {lesson.window for lesson in lessons} == {0, 4}
    printed = capsys.readouterr().out
    assert "| adding, LSTM | 7 | no (90%) |" in printed and (tmp_path / "found.png").stat().st_size > 3_000

    lessons.clear()
    long_memory.main(flags)
    assert lessons == []
