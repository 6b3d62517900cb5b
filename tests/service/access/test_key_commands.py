from __future__ import annotations

from pathlib import Path

import pytest

from service.access.admission import Access
from service.access.key_commands import main
from service.access.keys import read_keys


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """The status of a command, and what it wrote."""
    status = main([str(argument) for argument in arguments], {})
    told = capsys.readouterr()
    return status, told.out, told.err


def test_a_key_is_printed_once_and_lets_its_bearer_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "keys.toml"
    status, key, told = run(capsys, "add", "sensors", "--file", path)
    assert status == 0 and key.strip() not in path.read_text() and key.strip() not in told
    caller = Access(path).visitor(key.strip().encode()).caller()
    assert caller.name == "sensors" and caller.rights == {"predict", "sessions"}
    assert run(capsys, "list", "--file", path)[1].split() == ["sensors", read_keys(path)[0].id, "predict,", "sessions"]


def test_a_key_is_replaced_by_another_that_works_beside_it_for_a_while(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "keys.json"
    _, old, _ = run(capsys, "add", "a", "--rights", "admin", "--file", path)
    status, _, told = run(capsys, "add", "a", "--file", path)
    assert status == 2 and "--another" in told
    _, new, _ = run(capsys, "add", "a", "--another", "--rights", "sessions,admin", "--file", path)
    access = Access(path)
    assert access.visitor(old.strip().encode()).caller().name == access.visitor(new.strip().encode()).caller().name
    status, _, told = run(capsys, "remove", "a", "--file", path)
    first, second = read_keys(path)
    assert status == 2 and first.id in told and second.id in told
    assert run(capsys, "remove", "a", "--id", first.id, "--file", path)[0] == 0
    assert read_keys(path) == [second] and second.rights == ["sessions", "admin"]
    assert run(capsys, "remove", "a", "--file", path)[0] == 0 and read_keys(path) == []
    assert run(capsys, "remove", "a", "--file", path)[0] == 2


@pytest.mark.parametrize(
    "wrong", [["add", "a/b"], ["add", ""], ["add", "a", "--rights", "all"], ["add", "a", "--rights", ""], ["take"]]
)
def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path: Path, wrong: list[str]) -> None:
    with pytest.raises(SystemExit):
        main([*wrong, "--file", str(tmp_path / "keys.toml")], {})
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_the_settings_where_none_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "keys.toml"
    assert main(["add", "a"], {"UNROLL_API_KEYS": str(path)}) == 0 and len(read_keys(path)) == 1
    with pytest.raises(SystemExit):
        main(["list"], {})
    assert "--file" in capsys.readouterr().err


def test_a_file_that_cannot_be_used_is_told_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "keys.toml"
    path.write_text("nonsense")
    for command in (["list"], ["add", "a"], ["remove", "a"]):
        status, _, told = run(capsys, *command, "--file", path)
        assert status == 2 and told.startswith("python -m service keys: keys.toml: ") and told.count("\n") == 1
    assert path.read_text() == "nonsense"
