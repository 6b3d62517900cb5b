"""Log lines as JSON, with the request they belong to."""

from __future__ import annotations

import json
import logging
import sys

from service.logging_setup import JsonFormatter, TextFormatter, request_id


def record(message: str = "it %s", *arguments: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("service.x", logging.WARNING, "file", 1, message, arguments, None)
    vars(made).update(extra)
    return made


def test_a_line_is_one_json_object() -> None:
    line = json.loads(JsonFormatter().format(record("it %s\nhere", "is", status=200)))
    assert line.pop("time").endswith("Z")
    assert line == {"level": "warning", "logger": "service.x", "message": "it is\nhere", "status": 200}


def test_a_line_names_its_request() -> None:
    token = request_id.set("r-1")
    try:
        assert json.loads(JsonFormatter().format(record("x")))["request_id"] == "r-1"
        assert TextFormatter().format(record("x")).endswith("request_id=r-1")
    finally:
        request_id.reset(token)


def test_an_exception_comes_with_its_trace() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        made = record("failed")
        made.exc_info = sys.exc_info()
    assert "ValueError: broken" in json.loads(JsonFormatter().format(made))["trace"]
