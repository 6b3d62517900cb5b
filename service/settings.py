"""Settings: everything an operator can choose, read once from the environment and the command line.

`Settings` is the one source of the `UNROLL_*` variables, the flags of `python -m service`, their help and the table
in the README. A flag wins over a variable, a variable over the default. Values are never echoed: one may be a secret.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from service.access.web import read_origins
from service.journal.location import EXPECTED, check_location

PREFIX = "UNROLL_"


class SettingsError(ValueError):
    """A setting that cannot be used: names the variable and what was expected, never the value."""


@dataclass(frozen=True)
class _Kind:
    """How a value is read from text, and how an operator is told what it may be."""

    expected: str
    read: Callable[[str], Any]


def _whole(low: int, high: int) -> _Kind:
    return _Kind(f"a whole number from {low} to {high}", lambda text: _bounded(int(text), low, high))


def _seconds(low: float, high: float) -> _Kind:
    return _Kind(f"seconds from {low:g} to {high:g}", lambda text: _bounded(float(text), low, high))


def _rate() -> _Kind:
    return _Kind("a number from 0 to 1e+09", lambda text: _bounded(float(text), 0, 1e9))


def _bounded(value: Any, low: float, high: float) -> Any:
    if not low <= value <= high:
        raise ValueError
    return value


def _one_of(*choices: str) -> _Kind:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError
        return text

    return _Kind("one of " + ", ".join(choices), read)


def _text() -> _Kind:
    def read(text: str) -> str:
        if not text.strip():
            raise ValueError
        return text

    return _Kind("a text that is not empty", read)


_LEAST_KEY = 16


def _key() -> _Kind:
    def read(text: str) -> str:
        if 0 < len(text) < _LEAST_KEY:
            raise ValueError
        return text

    return _Kind(f"at least {_LEAST_KEY} characters, or none", read)


def _origins() -> _Kind:
    return _Kind("origins, scheme://host or scheme://host:port, with commas between, or none", _checked_origins)


def _checked_origins(text: str) -> str:
    return ",".join(read_origins(text))


def _path() -> _Kind:
    return _Kind("a path, or none", str)


def _setting(default: Any, kind: _Kind, help_text: str) -> Any:
    return dataclasses.field(default=default, metadata={"kind": kind, "help": help_text})


_DAY = 86400.0


@dataclass(frozen=True)
class Settings:
    """What an operator chose. Sizes are per process unless they say otherwise."""

    host: str = _setting("127.0.0.1", _text(), "address to listen on")
    port: int = _setting(8000, _whole(0, 65535), "port to listen on; 0 takes a free one and prints it")
    grpc_port: int = _setting(
        8001, _whole(-1, 65535), "port of the Open Inference Protocol over gRPC; 0 takes a free one, -1 none"
    )
    authentication: Literal["auto", "required", "off"] = _setting(
        "auto",
        _one_of("auto", "required", "off"),
        "whether an API key must be shown; auto: where api_keys is set, or the host is not a loopback address",
    )
    api_keys: str = _setting(
        "", _path(), "file of API keys, which `python -m service keys` writes; read when it changes"
    )
    metrics_access: Literal["admin", "open"] = _setting(
        "admin", _one_of("admin", "open"), "who may read /metrics where API keys are asked for; open: everybody"
    )
    cors_origins: str = _setting(
        "", _origins(), "web pages of other origins that may ask, such as https://app.example.com, with commas between"
    )
    models: Path = _setting(Path("models"), _Kind("a folder", Path), "folder of published models, one folder per name")
    invocations_model: str = _setting(
        "auto", _text(), "model that /invocations means where none is named; auto takes the only forecaster"
    )
    device: Literal["auto", "cpu", "cuda"] = _setting(
        "auto", _one_of("auto", "cpu", "cuda"), "where graphs run; auto takes CUDA where it loads, for larger models"
    )
    cuda_from_bytes: int = _setting(
        2 * 2**20, _whole(0, 10**12), "bytes of weights from which auto runs a model on CUDA and not on the CPU"
    )
    cuda_graphs: Literal["on", "off"] = _setting(
        "off", _one_of("on", "off"), "on captures runs as CUDA graphs, where that gives the same bits"
    )
    threads: int = _setting(0, _whole(0, 256), "threads within one graph run; 0 chooses by the size of each model")
    journal: str = _setting(
        "sqlite:unroll.db", _Kind(EXPECTED, check_location), "where sessions are kept; memory: forgets them at a stop"
    )
    durability: Literal["sync", "async", "none"] = _setting(
        "sync",
        _one_of("sync", "async", "none"),
        "what an answer waits for, where a session does not say: its commit; nothing, and it follows; or there is none",
    )
    snapshot_key: str = _setting(
        "", _key(), "secret that snapshots are signed with; servers of one key take each other's; empty draws one"
    )
    max_queue: int = _setting(4096, _whole(1, 10**7), "requests waiting per model, past which 429 is answered")
    max_queue_s: float = _setting(
        0.1, _seconds(0, 3600), "seconds of work waiting per model before a request, past which 429 is answered"
    )
    max_sessions: int = _setting(
        100_000, _whole(1, 10**8), "sessions in memory, past which idle ones leave, or 429 is answered"
    )
    resident_sessions: int = _setting(
        16_384, _whole(1, 10**8), "sessions per model whose rows are in memory; others wait in the journal"
    )
    session_time_to_live_s: float = _setting(
        _DAY, _seconds(1, 3650 * _DAY), "seconds without a request after which a session expires"
    )
    max_time_to_live_s: float = _setting(
        365 * _DAY, _seconds(1, 3650 * _DAY), "longest time to live that a client may ask for"
    )
    max_request_bytes: int = _setting(
        8 * 2**20, _whole(1024, 2**31), "bytes of one request body, WebSocket frame or gRPC message"
    )
    max_steps: int = _setting(100_000, _whole(1, 10**8), "values or tokens taken in by one request")
    max_horizon: int = _setting(2048, _whole(1, 10**6), "steps ahead in one forecast")
    max_samples: int = _setting(1000, _whole(1, 10**5), "sample paths of one forecast")
    max_tokens: int = _setting(4096, _whole(1, 10**7), "tokens generated by one request and choice")
    max_gap_steps: int = _setting(1000, _whole(0, 10**7), "missing steps that timestamps may leave before one value")
    max_inputs: int = _setting(256, _whole(1, 10**5), "series, prompts or sessions in one request")
    max_choices: int = _setting(16, _whole(1, 1000), "completions of one prompt (n)")
    prefix_cache_bytes: int = _setting(
        64 * 2**20, _whole(0, 2**40), "bytes of states kept after the beginnings of prompts; 0 keeps none"
    )
    key_requests_per_s: float = _setting(
        0.0,
        _rate(),
        "requests a second of one API key, past which 429 is answered; its entry may say another; 0 no limit",
    )
    key_request_burst: int = _setting(
        0, _whole(0, 10**9), "requests of one API key at once, after a pause; 0 what it may ask for in a second"
    )
    key_steps_per_s: float = _setting(
        0.0, _rate(), "steps a second of one API key (a row's values, tokens, or steps ahead); 0 no limit"
    )
    key_sessions: int = _setting(0, _whole(0, 10**9), "sessions that one API key may have open; 0 no limit")
    key_streams: int = _setting(0, _whole(0, 10**6), "WebSockets that one API key may have open; 0 no limit")
    max_connections: int = _setting(
        10_000, _whole(1, 10**6), "open connections, past which one more is answered 503 and closed"
    )
    request_timeout_s: float = _setting(
        60.0, _seconds(0.05, 3600), "seconds in which a request or frame has to arrive, and some of an answer be read"
    )
    answer_timeout_s: float = _setting(
        600.0, _seconds(0.1, _DAY), "seconds in which one request has to be answered and its answer read, in all"
    )
    shutdown_grace_s: float = _setting(
        20.0, _seconds(0, 3600), "seconds that running requests get to finish at SIGTERM"
    )
    log_level: str = _setting(
        "info", _one_of("debug", "info", "warning", "error"), "least level logged; debug logs requests"
    )
    log_format: str = _setting("json", _one_of("json", "text"), "how log lines are written, on standard error")


def _fields() -> list[dataclasses.Field[Any]]:
    return list(dataclasses.fields(Settings))


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def flag(name: str) -> str:
    """The command-line flag of a setting."""
    return "--" + name.replace("_", "-")


def _default_text(field: dataclasses.Field[Any]) -> str:
    return f"{field.default:g}" if isinstance(field.default, float) else str(field.default)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Give a parser one flag for every setting, with its help."""
    for field in _fields():
        help_text = f"{field.metadata['help']} ({variable(field.name)}, default {_default_text(field)})"
        parser.add_argument(flag(field.name), dest=field.name, default=None, metavar="VALUE", help=help_text)


def load_settings(
    environment: Mapping[str, str] | None = None, flags: Mapping[str, str | None] | None = None
) -> Settings:
    """Settings from flags, then variables, then defaults.

    Args:
        environment: variables by name; the process's own if None. Empty ones count as unset.
        flags: texts by setting name, None where a flag was not given.

    Raises:
        SettingsError: a value that does not fit, or a variable `UNROLL_…` that does not exist.
    """
    environment = os.environ if environment is None else environment
    _refuse_unknown(environment)
    chosen: dict[str, Any] = {}
    for field in _fields():
        name, kind = field.name, field.metadata["kind"]
        given = (flags or {}).get(name)
        for source, text in ((flag(name), given), (variable(name), environment.get(variable(name)) or None)):
            if text is not None:
                chosen[name] = _read(source, kind, text)
                break
    return Settings(**chosen)


def _read(source: str, kind: _Kind, text: str) -> Any:
    try:
        return kind.read(text.strip())
    except ValueError:
        raise SettingsError(f"{source}: expected {kind.expected}") from None


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    known = [variable(field.name) for field in _fields()]
    for name in environment:
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known)}"
            raise SettingsError(f"{name}: no such setting{hint}")


def settings_table() -> str:
    """The README's table of settings, in Markdown."""
    lines = ["| variable | flag | default | expected | meaning |", "|---|---|---|---|---|"]
    for field in _fields():
        cells: Sequence[str] = (
            f"`{variable(field.name)}`",
            f"`{flag(field.name)}`",
            f"`{_default_text(field)}`",
            field.metadata["kind"].expected,
            field.metadata["help"],
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
