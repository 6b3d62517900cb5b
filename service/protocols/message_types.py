"""What a message may hold at some place in it, found by walking its type beside the value that came."""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

_WORDS: dict[Any, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    bytes: "base64",
    list: "a list",
    dict: "an object",
}


def struct_at(kind: Any, value: Any, steps: list[str]) -> type[msgspec.Struct] | None:
    """The struct that stands at a place, given by names and indices; None where it is no struct, or cannot be told."""
    found = _struct_or_same(kind, value)
    for step in steps:
        found = _within(found, step)
        value = _next(value, step)
        found = _struct_or_same(found, value)
    return found if isinstance(found, type) and issubclass(found, msgspec.Struct) else None


def names_in(struct: type[msgspec.Struct]) -> list[str]:
    """The names that an object of that type may have."""
    tag = struct.__struct_config__.tag_field
    return [*([tag] if tag else []), *struct.__struct_encode_fields__]


def words_for(struct: type[msgspec.Struct], name: str) -> str:
    """What an object of that type has under a name, in words: a whole number."""
    types = dict(
        zip(struct.__struct_encode_fields__, (field.type for field in msgspec.structs.fields(struct)), strict=True)
    )
    return _words(types[name]) if name in types else "a value"


def _words(kind: Any) -> str:
    kind = _bare(kind)
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    parts = _parts(kind)
    if len(parts) > 1:
        return " or ".join(dict.fromkeys(_words(part) for part in parts if part is not type(None)))
    origin = get_origin(kind) or kind
    if isinstance(origin, type) and issubclass(origin, msgspec.Struct):
        return "an object"
    return _WORDS.get(list if origin is tuple else origin, "a value")


def _within(kind: Any, step: str) -> Any:
    """The type at one step into another."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        fields = zip(kind.__struct_encode_fields__, msgspec.structs.fields(kind), strict=True)
        return next((field.type for name, field in fields if name == step), None)
    arguments = get_args(kind)
    if get_origin(kind) is dict and len(arguments) == 2:
        return arguments[1]
    return arguments[0] if get_origin(kind) in (list, tuple) and arguments else None


def _next(value: Any, step: str) -> Any:
    if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
        return value[int(step)]
    return value.get(step) if isinstance(value, dict) else None


def _struct_or_same(kind: Any, value: Any) -> Any:
    """The part of a union that a value is meant to be: told by its tag, or by whether it is an object or a list."""
    parts = _parts(_bare(kind))
    if len(parts) == 1:
        return parts[0]
    if isinstance(value, list):
        return next((part for part in parts if get_origin(part) in (list, tuple)), None)
    structs = [part for part in parts if isinstance(part, type) and issubclass(part, msgspec.Struct)]
    for struct in structs:
        tag = struct.__struct_config__.tag_field
        if tag is None or (isinstance(value, dict) and value.get(tag) == struct.__struct_config__.tag):
            return struct
    if isinstance(value, dict):
        return next((part for part in parts if get_origin(part) is dict), None)
    return None


def _parts(kind: Any) -> list[Any]:
    if get_origin(kind) in (Union, UnionType):
        return [_bare(part) for part in get_args(kind)]
    return [kind]


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind
