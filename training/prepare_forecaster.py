"""From series and settings to what a decoder is trained on, for a new run or as a published model was trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from rich.console import Console

from training.ancestral_decoder import prepare_ancestral
from training.data.alignment import Split
from training.data.series import SeriesSet
from training.direct_decoder import PreparedDirect, prepare_direct
from training.direct_settings import DirectSettings
from training.forecaster_files import segment_settings_of, settings_of
from training.forecaster_recipe import Prepared
from training.forecaster_settings import DecoderSettings, NetworkSettings
from training.networks.decoders import Decoder


def decoders_of(settings: DecoderSettings, series: SeriesSet) -> tuple[Decoder, ...]:
    """The decoders to train; of series with covariates the ancestral one alone, because only that one looks at them."""
    if settings.decoder != "auto":
        return (settings.decoder,)
    if series.covariates is None and series.static is None:
        return ("ancestral", "direct")
    Console(stderr=True).print("decoder auto: ancestral alone, because the direct one takes no covariates")
    return ("ancestral",)


def settings_of_decoders(prepared: Sequence[Prepared]) -> dict[str, Any]:
    """The groups of a run's settings that say what each network is made of, and how the direct one is fitted."""
    groups: dict[str, Any] = {}
    for one in prepared:
        if isinstance(one, PreparedDirect):
            groups |= {"segments": asdict(one.settings), "direct": asdict(one.direct)}
        else:
            groups["network"] = asdict(one.settings)
    return groups


def chosen_alone(settings: Mapping[str, Any], decoder: Decoder) -> dict[str, Any]:
    """A run's settings without those of the decoder that was not chosen."""
    others = ("network",) if decoder == "direct" else ("segments", "direct")
    kept = {name: group for name, group in settings.items() if name not in others}
    return kept | {"decoder": settings.get("decoder", {}) | {"chosen": decoder}}


def prepare(
    decoder: Decoder,
    series: SeriesSet,
    split: Split,
    horizon: int,
    network: NetworkSettings,
    direct: DirectSettings,
) -> Prepared:
    """Settle what the flags leave open by the data before validation, and prepare them for one decoder."""
    if decoder == "direct":
        return prepare_direct(series, split, network, direct, horizon)
    return prepare_ancestral(series, split, network)


def prepare_again(series: SeriesSet, split: Split, settings: Mapping[str, Any]) -> Prepared:
    """As a model was trained, on other data: its lags, calendar, window and levels, and scales of these series.

    Args:
        settings: `training.settings` of a manifest.
    """
    horizon: int = settings["evaluation"]["horizon"]
    if settings.get("decoder", {}).get("chosen") != "direct":
        return prepare("ancestral", series, split, horizon, _flags_of(settings["network"]), DirectSettings())
    made = segment_settings_of(settings["segments"])
    direct = DirectSettings(**settings["direct"])
    same = replace(direct, context=made.context_length, segment=made.segment_length, season=made.season)
    network = NetworkSettings(
        quantiles=_listed(made.quantiles), calendar=_listed(made.calendar), conformal=made.conformal
    )
    return prepare("direct", series, split, horizon, network, same)


def _flags_of(values: Mapping[str, Any]) -> NetworkSettings:
    """The flags by which a network of these settings is made."""
    made = settings_of(values)
    return NetworkSettings(
        cell=made.cell,
        hidden_size=made.hidden_size,
        layers=made.layers,
        dropout=made.dropout,
        lags=_listed(made.lags),
        calendar=_listed(made.calendar),
        quantiles=_listed(made.quantiles),
        decay=made.decay,
        log_scale=made.log_scale is not None,
        residual=made.residual,
        learned_state=made.learned_state,
        conformal=made.conformal,
    )


def _listed(values: Iterable[object]) -> str:
    return ",".join(map(str, values))
