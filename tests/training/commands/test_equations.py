"""`equations` prints its checks and learns; mistakes are messages."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("torch")

from training.__main__ import main

QUICK = ["equations", "--no-check", "--steps", "5", "--delay", "2"]


def losses(output: str) -> list[float]:
    return [float(number) for number in re.findall(r"loss (\d+\.\d+)", output)]


def test_every_check_is_printed_and_none_differs_by_more_than_1e8(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["equations", "--batches", "0"]) == 0
    numbers = re.findall(r"\d+e-\d+", capsys.readouterr().out)
    assert len(numbers) == 3 * 2 * 3 and max(map(float, numbers)) < 1e-8


@pytest.mark.parametrize("task", ["recall", "echo"])
def test_it_learns_what_is_to_be_remembered(task: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "--task", task, "--batches", "400"]) == 0
    *learned, baseline = losses(capsys.readouterr().out)
    assert len(learned) == 10 and learned[-1] < 0.1 * baseline


@pytest.mark.parametrize("window, learns", [("5", True), ("4", False)])
def test_a_memory_of_four_steps_takes_a_window_of_five(
    window: str, learns: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    task = ["--steps", "6", "--delay", "4", "--window", window, "--hidden", "6", "--rate", "0.2", "--batches", "600"]
    assert main(["equations", "--no-check", *task]) == 0
    *learned, baseline = losses(capsys.readouterr().out)
    assert learned[-1] < 0.1 * baseline if learns else learned[-1] > 0.9 * baseline


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--delay", "5"], "delay: expected less than the 5 steps of a sequence, got 5"),
        (["--window", "2", "--stride", "3"], "stride: expected at most the window of 2 steps, got 3"),
    ],
)
def test_what_cannot_be_is_a_message(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, *arguments]) == 1
    assert message in " ".join(capsys.readouterr().err.split())
