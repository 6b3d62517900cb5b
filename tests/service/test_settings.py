"""Settings: flags over variables over defaults, errors that name the variable, and the README's table."""

from __future__ import annotations

import argparse
import dataclasses
import re
from pathlib import Path

import pytest

from service.settings import Settings, SettingsError, add_flags, flag, load_settings, settings_table, variable

README = Path(__file__).parents[2] / "README.md"


def parse(*arguments: str) -> dict[str, str | None]:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return vars(parser.parse_args(arguments))


def test_without_anything_there_are_defaults() -> None:
    settings = load_settings({})
    assert settings == Settings()
    assert (settings.host, settings.port, settings.models) == ("127.0.0.1", 8000, Path("models"))


def test_a_flag_wins_over_a_variable_and_a_variable_over_the_default() -> None:
    environment = {"UNROLL_PORT": "9000", "UNROLL_HOST": "0.0.0.0", "PATH": "ignored"}
    settings = load_settings(environment, parse("--port", "9001"))
    assert (settings.port, settings.host, settings.threads) == (9001, "0.0.0.0", 0)


def test_an_empty_variable_counts_as_unset() -> None:
    assert load_settings({"UNROLL_PORT": ""}).port == 8000


def test_every_setting_can_be_given_both_ways() -> None:
    for field in dataclasses.fields(Settings):
        text = str(field.default)
        assert getattr(load_settings({variable(field.name): text}), field.name) == field.default
        assert getattr(load_settings({}, parse(flag(field.name), text)), field.name) == field.default


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("UNROLL_PORT", "http", "expected a whole number from 0 to 65535"),
        ("UNROLL_PORT", "65536", "expected a whole number from 0 to 65535"),
        ("UNROLL_DEVICE", "tpu", "expected one of auto, cpu, cuda"),
        ("UNROLL_SHUTDOWN_GRACE_S", "nan", "expected seconds from 0 to 3600"),
        ("UNROLL_DEVICE", "cuda:secret", "expected one of auto, cpu, cuda"),
        ("UNROLL_HOST", "  ", "expected a text that is not empty"),
    ],
)
def test_a_wrong_value_names_the_variable_and_never_the_value(name: str, text: str, expected: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({name: text})
    assert str(caught.value) == f"{name}: {expected}"


def test_a_wrong_flag_is_named_as_a_flag() -> None:
    with pytest.raises(SettingsError, match="--max-queue: expected a whole number"):
        load_settings({}, parse("--max-queue", "many"))


def test_a_variable_that_does_not_exist_is_refused_with_a_hint() -> None:
    with pytest.raises(SettingsError, match="UNROLL_PROT: no such setting; did you mean UNROLL_PORT?"):
        load_settings({"UNROLL_PROT": "1"})


def test_the_help_names_every_variable() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    text = parser.format_help()
    for field in dataclasses.fields(Settings):
        assert flag(field.name) in text and re.sub(r"\s", "", variable(field.name)) in re.sub(r"\s", "", text)


def test_the_readme_shows_the_settings_as_they_are() -> None:
    text = README.read_text("utf-8")
    shown = text.split("<!-- settings -->")[1].split("<!-- /settings -->")[0]
    assert shown.strip() == settings_table(), "run python -m service --settings-table and put its output there"
