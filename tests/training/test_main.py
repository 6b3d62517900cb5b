"""The commands are listed, and mistakes are messages."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from training.__main__ import COMMANDS, main


def test_without_a_command_or_with_help_all_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert (main([]), main(["--help"])) == (2, 0)
    output = capsys.readouterr().out
    assert all(output.count(f"  {name} ") == 2 for name in COMMANDS)


def test_an_unknown_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    assert "expected a command, got 'trian'" in capsys.readouterr().err


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert f"python -m training {name}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["text"], ["text", "--nonsense"], ["text", "--data", "x", "--cell", "LSTN"]])
def test_flags_that_are_wrong_are_refused_with_status_two(arguments: list[str]) -> None:
    assert main(arguments) == 2


def test_missing_data_is_a_message_without_a_trace(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["text", "--data", "nowhere.txt"]) == 1
    error = capsys.readouterr().err
    assert "data nowhere.txt: expected a text file" in " ".join(error.split()) and "Traceback" not in error
