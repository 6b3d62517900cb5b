"""Parity of an exported segment forecaster with its network: predictions, scores, samples, forecasts and state."""

from __future__ import annotations

import copy

import numpy as np
import torch

from service.contract.manifest import StateLayout
from training.export.exported import Exported, Verified
from training.export.parity import BATCHES, LENGTHS, check_exactness, require_close, require_same_bits
from training.export.parity_course import follow
from training.export.parity_expected import Expected, both_missing_is_zero
from training.export.parity_series import Series, random_calendar, random_target
from training.export.runner import ExportedForecaster, Named
from training.networks.anomaly_likelihood import MEMORY
from training.networks.causal_features import Array
from training.networks.conformal import adjusted
from training.networks.segment_ensemble import AnySegmentForecaster
from training.networks.segment_forecaster import SegmentSettings, on_its_own_scale


def segment_parity(network: AnySegmentForecaster, exported: Exported) -> Verified:
    """The export, once it is shown to compute what the network computes.

    As `forecaster_parity`, and the direct forecast after it all: with PyTorch, and a batch with its rows alone.

    Raises:
        ParityError: the first check that fails, and by how much.
    """
    graphs = ExportedForecaster(exported.folder)
    network = copy.deepcopy(network).cpu().eval()
    errors = [_check(network, graphs, exported.state, batch, length) for batch in BATCHES for length in LENGTHS]
    return Verified(exported, max(errors))


def _check(
    network: AnySegmentForecaster, graphs: ExportedForecaster, layout: StateLayout, batch: int, length: int
) -> float:
    """Largest error of one comparison: a past, `length` observed steps, as many generated ones, and a forecast."""
    settings = network.settings
    past = settings.context_length // 2 + 8  # windows are full at last in the longer comparisons alone
    rng = np.random.default_rng(batch * 1000 + length)
    series = _random_series(settings, batch, past + 2 * length + settings.prediction_length, rng)
    end = past + 2 * length
    continued = Series(series.target[:, :end], {name: array[:, :end] for name, array in series.known.items()}, None)
    course = follow(graphs, layout, continued, graphs.initial(batch=batch), past, length, rng)
    expected = _expected(network, continued, course.target, course.factors[:, :-1])
    if graphs.can_prefill:
        _require_prefilled(course.where, graphs, continued, course.before, course.observed, past, past + length)
    after, ahead = course.generated["next_state"], series.part(end)
    return max(
        course.largest_error(expected, settings.conformal),
        _forecast_error(course.where, network, graphs, course.target, course.factors[:, -1], after, ahead),
    )


def _require_prefilled(
    where: str, graphs: ExportedForecaster, series: Series, before: Array, observed: Array, start: int, end: int
) -> None:
    """Check that rows filled with some steps are those that observed them, but for the memory of surprises."""
    inputs = {"state": before, "target": series.target[:, start:end], **series.part(start, end)}
    filled = check_exactness(graphs, "prefill", inputs, [name for name in inputs if name != "state"])["next_state"]
    window = before.shape[1] - MEMORY
    require_same_bits(
        f"{where}: prefill against observe",
        {"window": filled[:, :window], "memory": filled[:, window:]},
        {"window": observed[:, :window], "memory": before[:, window:]},
    )


def _expected(network: AnySegmentForecaster, series: Series, target: Array, factors: Array) -> Expected:
    """What PyTorch makes of the window before each step of target (B, T)."""
    settings = network.settings
    batch, steps = target.shape
    padded = np.concatenate([np.full((batch, settings.context_length), np.nan, np.float32), target], axis=1)
    every = np.lib.stride_tricks.sliding_window_view(padded, settings.context_length, axis=1)[:, :steps]
    window = on_its_own_scale(torch.from_numpy(every.reshape(batch * steps, -1).copy()), settings.centring)
    # Only the first step of each is used; the calendar of the others does not matter to it.
    calendar = series.known.get("calendar")
    ahead = None if calendar is None else _repeated(calendar.reshape(batch * steps, 1, -1), settings.prediction_length)
    with torch.no_grad():
        quantiles = network(window, ahead)[:, 0].reshape(batch, steps, -1).numpy()
    origin, scale = (part.reshape(batch, steps).numpy() for part in (window.origin, window.scale))
    seen = window.observed.any(-1).reshape(batch, steps).numpy()
    told = np.where(seen[..., None], quantiles, np.float32(np.nan))
    z = torch.from_numpy(adjusted(told, factors, settings.quantiles) if settings.conformal else told)
    return Expected(settings.quantiles, settings.anomaly, told, z, (target - origin) / scale, origin, scale)


def _repeated(calendar: Array, steps: int) -> torch.Tensor:
    return torch.from_numpy(np.repeat(calendar, steps, axis=1))


def _forecast_error(
    where: str,
    network: AnySegmentForecaster,
    graphs: ExportedForecaster,
    target: Array,
    factors: Array,
    rows: Array,
    known: Named,
) -> float:
    """Largest error of the direct forecast after target (B, T), relative to the scale and to itself."""
    settings = network.settings
    calendar = known.get("calendar")
    found = graphs.forecast(rows, calendar)
    for row in range(len(rows)):
        alone = graphs.forecast(rows[row : row + 1], None if calendar is None else calendar[row : row + 1])
        require_same_bits(f"{where}: forecast of row {row} alone", {"q": alone}, {"q": found[row : row + 1]})
    padded = np.concatenate([np.full((len(target), settings.context_length), np.nan, np.float32), target], axis=1)
    window = on_its_own_scale(torch.from_numpy(padded[:, -settings.context_length :].copy()), settings.centring)
    with torch.no_grad():
        told = network(window, None if calendar is None else torch.from_numpy(calendar)).numpy()
    if settings.conformal:
        told = adjusted(told, factors[:, None], settings.quantiles)
    origin, scale = window.origin.numpy()[..., None], window.scale.numpy()[..., None]
    expected = np.where(window.observed.any(-1).numpy()[:, None, None], origin + scale * told, np.float32(np.nan))
    error = both_missing_is_zero(expected, found, (found - expected) / (np.abs(expected) + scale))
    return require_close(f"{where}: forecast", error)


def _random_series(settings: SegmentSettings, batch: int, length: int, rng: np.random.Generator) -> Series:
    known: dict[str, Array] = {}
    if settings.calendar:
        known["calendar"] = random_calendar(settings.calendar, batch, length, rng)
    return Series(random_target(batch, length, rng), known, None)
