"""Bounds of one request, checked before any work is done; each names the setting that raises it."""

from __future__ import annotations

from service.errors import RequestTooLarge
from service.settings import variable


def at_most(count: int, bound: int, parameter: str, setting: str, unit: str) -> None:
    """Check one bound.

    Raises:
        RequestTooLarge: `count` is above it.
    """
    if count > bound:
        raise RequestTooLarge(
            f"{parameter}: expected at most {bound} {unit}, got {count}: ask for less at once or raise "
            f"{variable(setting)}",
            parameter=parameter,
        )
