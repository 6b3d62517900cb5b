"""The time between two steps of a series: the model's own, or what a client tells of one whose model counts steps."""

from __future__ import annotations

from service.contract.frequency import Frequency
from service.contract.manifest import Manifest
from service.errors import InputMismatch


def frequency_of(manifest: Manifest, told: str | None) -> Frequency | None:
    """The time between two steps; None where neither the model nor the client knows it."""
    text = told if manifest.forecast is None else manifest.forecast.frequency or told
    return None if text is None else Frequency.parse(text)


def told_frequency(manifest: Manifest, told: str | None) -> str | None:
    """What a client tells of its series, in one spelling; None where the model has a frequency of its own.

    Raises:
        InputMismatch: not a frequency, not the model's, or told of a model that forecasts nothing.
    """
    if told is None:
        return None
    if manifest.forecast is None:
        raise InputMismatch(
            f"frequency: model {manifest.id} is for {manifest.task}: leave it out", parameter="frequency"
        )
    try:
        spelled = str(Frequency.parse(told))
    except ValueError as error:
        raise InputMismatch(str(error), parameter="frequency") from None
    if manifest.forecast.frequency is None:
        return spelled
    if spelled != manifest.forecast.frequency:
        raise InputMismatch(
            f"frequency: model {manifest.id} forecasts at {manifest.forecast.frequency}, got {told!r}",
            parameter="frequency",
        )
    return None


def require_frequency(manifest: Manifest, frequency: Frequency | None, parameter: str) -> Frequency:
    """The frequency that timestamps are counted by.

    Raises:
        InputMismatch: there is none, so that `parameter` means nothing.
    """
    if frequency is None:
        raise InputMismatch(
            f"{parameter}: model {manifest.id} counts steps and knows no time between them: give the frequency with "
            f"it, such as 1h, or leave {parameter} out",
            parameter=parameter,
        )
    return frequency
