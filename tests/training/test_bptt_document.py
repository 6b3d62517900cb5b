"""`docs/bptt.md` says what happens: its example prints what it shows, its commands and figures exist."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

pytest.importorskip("torch")

from benchmarks.__main__ import BENCHMARKS, TOOLS
from training.__main__ import main

DOCUMENT = Path(__file__).parents[2] / "docs" / "bptt.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")
COMMANDS = re.findall(r"python -m training (\w+) ?([^\n`]*)", TEXT)


def test_the_example_prints_what_it_shows() -> None:
    code, shown = re.findall(r"```python\n(.*?)```\n\n```\n(.*?)```", TEXT, re.DOTALL)[0]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, str(DOCUMENT), "exec"), {})
    assert printed.getvalue() == shown


@pytest.mark.parametrize("command, arguments", sorted(set(COMMANDS)))
def test_every_command_knows_its_options(
    command: str, arguments: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # options cut short are not found
    assert main([command, "--help"]) == 0
    listed = capsys.readouterr().out
    assert all(option in listed for option in re.findall(r"--[a-z-]+", arguments))


@pytest.mark.parametrize("name", sorted(set(re.findall(r"python -m benchmarks (\w+)", TEXT))))
def test_every_figure_is_drawn_by_a_command_there_is(name: str) -> None:
    assert name in BENCHMARKS + TOOLS


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)\)", TEXT))))
def test_every_link_leads_somewhere(link: str) -> None:
    assert (DOCUMENT.parent / link).exists()
