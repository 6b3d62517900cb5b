"""`python -m training`: the commands, each in a module of `training.commands` and loaded when it is asked for."""

from __future__ import annotations

import importlib
import sys

import typer
from rich.console import Console
from rich.text import Text

from training.errors import TrainingError

COMMANDS = {
    "text": "train a text generator",
    "forecaster": "train a forecaster of time series",
    "any_series": "train the general forecaster and anomaly detector of streams",
    "classifier": "train a classifier of labelled sequences",
    "export": "publish the model of a run folder",
    "evaluate": "measure a published forecaster or classifier on a file",
    "score": "find the anomalies in a file with a published forecaster",
    "equations": "check the gradients of the textbook three ways, and learn by them in NumPy",
    "diagnose": "measure how far gradients reach back through time",
    "data": "download a named public data set",
}


def _usage() -> str:
    lines = "".join(f"  {name:<12}{says}\n" for name, says in COMMANDS.items())
    return f"usage: python -m training COMMAND [OPTIONS]\n\n{lines}\npython -m training COMMAND --help says more."


def main(arguments: list[str]) -> int:
    """Run one command and return its exit status; a mistake of the user's is a message, not a trace."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return 0 if arguments else 2
    name = arguments[0]
    if name not in COMMANDS:
        print(f"expected a command, got {name!r}\n{_usage()}", file=sys.stderr)
        return 2
    # Torch takes seconds to load, and `data` does without: only the module of the command is imported.
    command = getattr(importlib.import_module(f"training.commands.{name}"), name)
    app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
    app.command(name)(command)
    try:
        app(arguments[1:], prog_name=f"python -m training {name}")
    except TrainingError as error:
        Console(stderr=True).print("[red]error[/red]", Text(str(error)), soft_wrap=True)
        return 1
    except SystemExit as end:  # typer ends so, well or not
        return end.code if isinstance(end.code, int) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
