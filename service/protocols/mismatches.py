"""What does not fit a message, in words: where it is, what was expected, what came."""

from __future__ import annotations

import difflib
import json
import re
from typing import Any, get_args

import msgspec

from service.errors import InputMismatch
from service.protocols.message_types import names_in, struct_at, words_for

_WORDS = {
    "array": "a list",
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "null": "null",
    "object": "an object",
    "str": "a text",
}
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `(?P<key>key in )?\$(?P<path>.*)`)?$", re.DOTALL)
_SHOWN = 60
_ANY = "…"
_KINDS: dict[str, tuple[type, ...]] = {
    "array": (list,),
    "bool": (bool,),
    "float": (float,),
    "int": (int,),
    "null": (type(None),),
    "object": (dict,),
    "str": (str,),
}


def mismatch(error: msgspec.ValidationError, value: Any, root: str, kind: Any = None) -> InputMismatch:
    """Our error for one of msgspec's: the place, what was expected, what came."""
    found = _PLACE.match(str(error))
    assert found is not None
    what = found["what"]
    steps = _resolved(value, _steps(found["path"] or ""), what)
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", what, re.DOTALL):
        return _at(root, [*steps, unknown[1]], f"unknown parameter{_known(kind, value, steps, unknown[1])}")
    if missing := re.fullmatch(r"Object missing required field `(.*)`", what, re.DOTALL):
        return _at(root, [*steps, missing[1]], f"expected {_wanted(kind, value, steps, missing[1])}, got nothing")
    if found["key"]:
        return _at(root, steps, f"a name in it does not fit: expected {_expected(what, kind)}")
    return _at(root, steps, f"expected {_expected(what, kind)}, got {shown(_value_at(value, steps))}")


def _known(kind: Any, value: Any, steps: list[str], name: str) -> str:
    """The names that would have been known in the place of one that is not."""
    struct = struct_at(kind, value, steps)
    if struct is None:
        return ""
    names = names_in(struct)
    near = difflib.get_close_matches(name, names, 1, 0.75)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(names)}"


def _wanted(kind: Any, value: Any, steps: list[str], name: str) -> str:
    """What is expected under a name that is missing."""
    struct = struct_at(kind, value, steps)
    if struct is not None:
        return words_for(struct, name)
    tags = [
        part.__struct_config__ for part in get_args(kind) if isinstance(part, type) and issubclass(part, msgspec.Struct)
    ]
    return f"one of {', '.join(str(one.tag) for one in tags if one.tag_field == name)}" if tags else "a value"


def _at(root: str, steps: list[str], what: str) -> InputMismatch:
    name = ".".join(json.dumps(step, ensure_ascii=False)[1:-1][:_SHOWN] for step in steps)
    return InputMismatch(f"{root}.{name}: {what}" if name else f"{root}: {what}", parameter=name or None)


def _steps(path: str) -> list[str]:
    """`.values[2]` → values, 2; msgspec writes `[...]` for a value of an object whose names are free."""
    return [step.strip(".[]") or _ANY for step in re.findall(r"\[\.\.\.\]|\[\d+\]|\.[^.\[]+", path)]


def _resolved(value: Any, steps: list[str], what: str) -> list[str]:
    """The steps with names in place of "any name": the first name that leads to what came."""
    came = re.search(r", got `(\w+)`$", what)
    for index, step in enumerate(steps):
        if step == _ANY:
            inner = _value_at(value, steps[:index])
            for name in inner if isinstance(inner, dict) and came else ():
                tried = _resolved(value, [*steps[:index], name, *steps[index + 1 :]], what)
                if type(_value_at(value, tried)) in _KINDS[came[1]]:  # type: ignore[index]
                    return tried
    return steps


def _value_at(value: Any, steps: list[str]) -> Any:
    for step in steps:
        if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict) and step in value:
            value = value[step]
        else:
            return ...
    return value


def _expected(what: str, kind: Any) -> str:
    """What msgspec expected, in words: Expected `int` <= 5 → a whole number at most 5."""
    if what.startswith("Invalid value"):
        tags = [part.__struct_config__.tag for part in get_args(kind)]
        return f"one of {', '.join(tags)}"
    if what.startswith("Invalid enum value"):
        return "one of the values that /docs lists"
    if what.startswith("Invalid base64"):
        return "base64"
    if "out of range" in what:
        return "a number that 64 bits can hold"
    what = re.sub(r", got .*$", "", what.removeprefix("Expected "), flags=re.DOTALL)
    what = re.sub(
        r"`([^`]*)`", lambda types: " or ".join(_WORDS.get(name, name) for name in types[1].split(" | ")), what
    )
    return what.replace("<=", "at most").replace(">=", "at least").replace("<", "below").replace(">", "above")


def shown(value: Any) -> str:
    """A value as JSON has it, cut short; what it is where its place is not known."""
    if value is ...:
        return "something else"
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, list | dict) else _kind(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _kind(value: list[Any] | dict[str, Any]) -> str:
    return f"a list of {len(value)}" if isinstance(value, list) else "an object"
