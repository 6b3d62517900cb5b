"""How a command ends whose run was stopped before its end."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console

from training import distributed
from training.interrupt import STOPPED


def stopped(run: Path) -> typer.Exit:
    """What to raise; the first process says how the run goes on."""
    if distributed.rank() == 0:
        Console(stderr=True).print(f"stopped; the same command with --resume continues {run.name}")
    return typer.Exit(STOPPED)
