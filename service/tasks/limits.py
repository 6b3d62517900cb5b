"""The bounds of one request, checked before any work is done."""

from __future__ import annotations

from dataclasses import dataclass

from service.errors import InputMismatch, RequestTooLarge


@dataclass(frozen=True)
class TaskLimits:
    """The most that one request may ask for; see the settings of the same names."""

    max_steps: int = 100_000
    max_horizon: int = 2048
    max_samples: int = 1000
    max_tokens: int = 4096
    max_gap_steps: int = 1000


DEFAULT_LIMITS = TaskLimits()


def check_count(
    name: str, count: int, limit: int, *, least: int = 1, unit: str = "", remedy: str = "ask in several requests"
) -> None:
    """Refuse a count that is too small or past its bound.

    Args:
        unit: what is counted, where the name does not say it.

    Raises:
        InputMismatch: below `least`.
        RequestTooLarge: above `limit`.
    """
    if count < least:
        raise InputMismatch(f"{name}: expected at least {least}{_of(unit, least)}, got {count}", parameter=name)
    if count > limit:
        raise RequestTooLarge(
            f"{name}: expected at most {limit}{_of(unit, limit)}, got {count}: {remedy}", parameter=name
        )


def _of(unit: str, count: int) -> str:
    return f" {unit.removesuffix('s') if count == 1 else unit}" if unit else ""
