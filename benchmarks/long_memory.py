"""At which lag do RNN, LSTM and GRU stop learning, with full and with truncated back-propagation through time?

Four tasks whose answer needs a memory of known length (`training.tasks.long_memory`), each tried at growing lags until
a cell fails at one. Results are kept in a file as they come: a run that was stopped goes on, and the figure is drawn
from the file.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks.long_memory_figure import draw
from benchmarks.table import print_table
from benchmarks.workplace import ROOT
from training.networks.recurrence import Cell
from training.tasks.long_memory import TASKS, LongMemoryTask
from training.tasks.sequence_learner import Lesson, Start, attempt

FOLDER = ROOT / "docs" / "figures"
LAGS = (10, 20, 50, 100, 200)
TRIES = 2  # a lag counts as failed when as many seeds have failed at it
TRUNCATED = 32
UPDATES: dict[Cell, int] = {"RNN": 5000, "GRU": 2000, "LSTM": 2000}  # in about the same time
RATES: dict[Cell, float] = {"RNN": 1e-3, "GRU": 1e-2, "LSTM": 1e-2}  # of those tried, what learned adding soonest


@dataclass(frozen=True)
class Learner:
    """One row of the figure."""

    name: str
    cell: Cell
    start: Start = "orthogonal"


LEARNERS = (
    Learner("RNN, uniform start", "RNN", "uniform"),
    Learner("RNN, orthogonal start", "RNN"),
    Learner("GRU", "GRU"),
    Learner("LSTM", "LSTM"),
    Learner("LSTM, chrono start", "LSTM", "chrono"),
)


@dataclass(frozen=True)
class Row:
    """One attempt as the file keeps it; `window` 0 is full back-propagation."""

    task: str
    window: int
    learner: str
    lag: int
    seed: int
    solved: bool
    updates: int
    error: float
    """On new sequences, as a share of chance."""
    seconds: float
    """Of processor time."""

    @staticmethod
    def read(line: dict[str, str]) -> Row:
        """A line of the file."""
        return Row(
            *(line["task"], int(line["window"]), line["learner"], int(line["lag"]), int(line["seed"])),
            *(line["solved"] == "True", int(line["updates"]), float(line["error"]), float(line["seconds"])),
        )


COLUMNS = list(Row.__dataclass_fields__)
Place = tuple[LongMemoryTask, int, Learner]


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks long_memory", description=__doc__)
    parser.add_argument("--results", type=Path, default=FOLDER / "long_memory.csv", help="read, and added to")
    parser.add_argument("--figure", type=Path, default=FOLDER / "long_memory.png")
    parser.add_argument("--lags", type=int, nargs="+", default=LAGS)
    parser.add_argument("--window", type=int, default=TRUNCATED, help="steps of the truncated windows")
    parser.add_argument("--tasks", nargs="+", default=[task.name for task in TASKS])
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    os.nice(10)
    chosen.results.parent.mkdir(parents=True, exist_ok=True)
    tasks = [task for task in TASKS if task.name in chosen.tasks]
    places = [(task, window, learner) for window in (0, chosen.window) for task in tasks for learner in LEARNERS]
    for row in _attempts(places, sorted(chosen.lags), chosen.results):
        _append(chosen.results, row)
    rows = _read(chosen.results)
    _print(rows)
    draw(chosen.figure, _best(rows), [task.name for task in tasks], [learner.name for learner in LEARNERS])
    print(f"drawn: {chosen.figure.name}")


def _attempts(places: list[Place], lags: list[int], results: Path) -> Iterator[Row]:
    """What the file lacks, one attempt after another; a learner goes on to the next lag where it solved the last."""
    done = {(row.task, row.window, row.learner, row.lag, row.seed): row for row in _read(results)}
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        whole = bar.add_task("", total=float(sum(lags) * len(places)))  # a step of a long lag takes as long as any
        for task, window, learner in places:
            for index, lag in enumerate(lags):
                bar.update(whole, description=f"{task}, {learner.name}, lag {lag}, {_called(window)}")
                solved = False
                for seed in range(TRIES):
                    row = done.get((task.name, window, learner.name, lag, seed))
                    if row is None:
                        row = _try(task, window, learner, lag, seed)
                        yield row
                        _say(row)
                    solved = solved or row.solved
                    if solved:
                        break
                bar.advance(whole, lag)
                if not solved:
                    bar.advance(whole, sum(lags[index + 1 :]))
                    break


def _try(task: LongMemoryTask, window: int, learner: Learner, lag: int, seed: int) -> Row:
    began = time.process_time()
    cell = learner.cell
    found = attempt(task, Lesson(cell, lag, window, UPDATES[cell], RATES[cell], learner.start, seed=seed))
    took = round(time.process_time() - began, 1)
    error = round(found.error, 4)
    return Row(task.name, window, learner.name, lag, seed, found.solved, found.updates, error, took)


def _say(row: Row) -> None:
    if not sys.stderr.isatty():
        how = f"solved after {row.updates} updates" if row.solved else f"not solved: error {row.error:.1%} of chance"
        what = f"{row.task}, {row.learner}, lag {row.lag}, {_called(row.window)}, seed {row.seed}"
        print(f"{what}: {how}, {row.seconds:.0f} s", file=sys.stderr, flush=True)


def _called(window: int) -> str:
    return f"windows of {window}" if window else "full"


def _read(results: Path) -> list[Row]:
    if not results.exists():
        return []
    with results.open(encoding="utf-8", newline="") as file:
        return [Row.read(line) for line in csv.DictReader(file)]


def _append(results: Path, row: Row) -> None:
    new = not results.exists()
    with results.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(vars(row))


def _print(rows: list[Row]) -> None:
    windows, lags = sorted({row.window for row in rows}), sorted({row.lag for row in rows})
    for window in windows:
        found = {(row.task, row.learner, row.lag): row for row in _best(rows) if row.window == window}
        print_table(
            f"Updates until a task is solved, {_called(window)}",
            ["task, cell", *(f"lag {lag}" for lag in lags)],
            [
                [f"{task}, {learner}", *(_cell(found.get((task, learner, lag))) for lag in lags)]
                for task, learner in dict.fromkeys((row.task, row.learner) for row in found.values())
            ],
        )


def _best(rows: list[Row]) -> list[Row]:
    """Of each lag the try that solved it, or the last."""
    best: dict[tuple[str, int, str, int], Row] = {}
    for row in rows:
        before = best.get((row.task, row.window, row.learner, row.lag))
        if before is None or not before.solved:
            best[row.task, row.window, row.learner, row.lag] = row
    return list(best.values())


def _cell(row: Row | None) -> str:
    if row is None:
        return "–"
    return f"{row.updates:,}" if row.solved else f"no ({row.error:.0%})"
