"""Fields that KServe's schema allows and nobody else would mean: one that is all but spelt like ours is refused.

A slip of the pen such as `sessionId` or `quantile` would go unnoticed otherwise.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import msgspec

from service.errors import InputMismatch
from service.protocols.kserve_timeseries.messages import ForecastOptions, SeriesForecastBody, SeriesInput
from service.protocols.reading import Message, decode

_ALIKE = 0.85
"""Ratio of `difflib` from which two names count as one misspelt; it tells `session` from `session_id`."""


class _Fields(msgspec.Struct):
    """The names that a request has in each place."""

    options: dict[str, msgspec.Raw]
    inputs: list[dict[str, msgspec.Raw]]


def check_spelling(body: bytes) -> None:
    """Refuse fields that are all but spelt like ours, in every place of a request.

    Args:
        body: a request that has been read as a `SeriesForecastBody`.

    Raises:
        InputMismatch: one is all but spelt like ours.
        BadRequest: a name is no text.
    """
    fields = decode(_Fields, body)
    _check_names(decode(dict[str, msgspec.Raw], body), SeriesForecastBody, "")
    _check_names(fields.options, ForecastOptions, "options.")
    for index, given in enumerate(fields.inputs):
        _check_names(given, SeriesInput, f"inputs.{index}.")


def _check_names(given: Iterable[str], known: type[Message], place: str) -> None:
    ours = {_plain(name): name for name in known.__struct_fields__}
    for name in given:
        if name not in ours.values() and (near := difflib.get_close_matches(_plain(name), ours, 1, _ALIKE)):
            raise InputMismatch(
                f"{place}{name}: unknown parameter; did you mean {ours[near[0]]}?", parameter=f"{place}{name}"
            )


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
