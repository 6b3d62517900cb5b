"""A dataclass in a command's signature becomes flags, and arrives as a dataclass."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest

pytest.importorskip("torch")

import typer
from typer.testing import CliRunner

from training.__main__ import main
from training.options import settings_as_options


@dataclass(frozen=True)
class Soup:
    """Something with settings."""

    salt: float = field(default=0.5, metadata={"help": "grams of it"})
    lid: bool = field(default=False, metadata={"help": "keep it on"})
    heat: Literal["low", "high"] = "low"
    minutes: int | None = None
    spoons: int = field(default=1, metadata={"help": "to stir with", "min": 1})


RECEIVED: list[tuple[Path, Soup, str]] = []


@settings_as_options
def cook(
    pot: Annotated[Path, typer.Option(help="where")], soup: Soup, name: Annotated[str, typer.Option()] = "dinner"
) -> None:
    """Cook it."""
    RECEIVED.append((pot, soup, name))


def run(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(cook)
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output


def test_flags_fill_the_dataclass_and_defaults_stay() -> None:
    code, _ = run("--pot", "big", "--lid", "--heat", "high", "--minutes", "12")
    assert code == 0
    assert RECEIVED[-1] == (Path("big"), Soup(lid=True, heat="high", minutes=12), "dinner")


def test_help_names_every_field_with_what_it_means() -> None:
    _, output = run("--help")
    assert all(text in output for text in ("--salt", "grams of it", "--no-lid", "--heat", "--name", "Cook it."))


def test_a_choice_that_is_none_is_refused() -> None:
    code, output = run("--pot", "big", "--heat", "medium")
    assert code == 2 and "medium" in output


def test_a_number_below_the_least_that_its_setting_takes_is_refused_by_name() -> None:
    code, output = run("--pot", "big", "--spoons", "0")
    assert code == 2 and "--spoons" in output


@pytest.mark.parametrize("command", ["text", "classifier", "forecaster"])
@pytest.mark.parametrize("flag", ["--hidden-size", "--layers", "--embedding-size"])
def test_a_network_of_nothing_is_refused_before_any_data_are_read(
    capsys: pytest.CaptureFixture[str], command: str, flag: str
) -> None:
    if (command, flag) == ("forecaster", "--embedding-size"):
        return  # numbers need none
    more = ["--frequency", "1h"] if command == "forecaster" else []
    assert main([command, "--data", "nowhere", *more, flag, "0"]) == 2
    assert flag in capsys.readouterr().err
