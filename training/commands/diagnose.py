"""`python -m training diagnose MODEL_OR_RUN --data FILE`: how far gradients reach back in a trained network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from training.diagnose.diagnosis import diagnose as measure
from training.diagnose.figure import draw_diagnosis
from training.diagnose.subject import load_subject
from training.diagnose.table import print_diagnosis
from training.errors import TrainingError
from training.waiting import waiting


def diagnose(
    model: Annotated[Path, typer.Argument(help="run folder, finished or not, or a published version of a model")],
    data: Annotated[Path, typer.Option(help="what it was trained on: text, series or labelled sequences")],
    figure: Annotated[Path | None, typer.Option(help="PNG to draw; diagnosis.png in a run folder or here")] = None,
    steps: Annotated[int, typer.Option(help="longest lag; 0: four windows of training, 64 to 256")] = 0,
    sequences: Annotated[int, typer.Option(help="stretches of the data to average over")] = 32,
    threads: Annotated[int | None, typer.Option(help="CPU threads; as many as torch finds otherwise")] = None,
) -> None:
    """Measure how far gradients travel back through time, say what follows from it, and draw it."""
    for name, value, least in (("steps", steps, 0), ("sequences", sequences, 1)):
        if value < least:
            raise TrainingError(f"{name}: expected at least {least}, got {value}")
    if threads is not None:
        torch.set_num_threads(threads)
    console = Console()
    subject = load_subject(model, data)
    if not subject.same_data:
        console.print(f"note: {data.name} is not, byte for byte, what {subject.name} was trained on", highlight=False)
    with waiting("following gradients") as advanced:
        found = measure(subject, steps, sequences, advanced)
    path = figure or (subject.run or Path()) / "diagnosis.png"
    draw_diagnosis(path, found)
    print_diagnosis(found, console)
    console.print(f"drawn: {path}", highlight=False, soft_wrap=True)
