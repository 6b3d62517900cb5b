"""Command-line flags made from frozen dataclasses, so that a setting is named and explained once."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, get_type_hints

import typer


def settings_as_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command for typer in which each parameter that is a dataclass has become one flag per field.

    A field's `help` metadata is the flag's help, `min` the least number that it takes. The command itself receives the
    dataclasses, filled in.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}
    parameters = inspect.signature(command).parameters

    def flags() -> Iterator[inspect.Parameter]:
        for name, parameter in parameters.items():
            if name in groups:
                yield from _fields_as_parameters(groups[name])
            else:
                yield parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)

    @functools.wraps(command)
    def with_flags(**values: Any) -> None:
        for name, group in groups.items():
            names = [field.name for field in dataclasses.fields(group)]
            values[name] = group(**{field: values.pop(field) for field in names})
        command(**values)

    signature = list(flags())
    vars(with_flags)["__signature__"] = inspect.Signature(signature)
    with_flags.__annotations__ = {parameter.name: parameter.annotation for parameter in signature}
    del vars(with_flags)["__wrapped__"]
    return with_flags


def _fields_as_parameters(group: Any) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(group)
    for field in dataclasses.fields(group):
        default = ... if field.default is dataclasses.MISSING else field.default
        option = typer.Option(default, help=field.metadata.get("help"), min=field.metadata.get("min"))
        yield inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=hints[field.name]
        )
