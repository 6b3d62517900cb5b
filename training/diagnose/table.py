"""A diagnosis as tables on a terminal."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from rich.console import Console
from rich.table import Column, Table

from training.diagnose.diagnosis import Diagnosis
from training.diagnose.verdict import advice, verdict


def print_diagnosis(found: Diagnosis, console: Console) -> None:
    """Everything measured, then the verdict and the advice."""
    for table in (_reach(found), _matrices(found), _truncation(found), _gates(found), _norms(found)):
        console.print(table)
    console.print(verdict(found), style="bold", highlight=False, soft_wrap=True)
    for sentence in advice(found):
        console.print(f"· {sentence}", highlight=False, soft_wrap=True)


def _table(title: str, first: str, *columns: str) -> Table:
    others = (Column(name, justify="right", no_wrap=True) for name in columns)
    return Table(Column(first, no_wrap=True), *others, title=title, title_justify="left")


def _reach(found: Diagnosis) -> Table:
    last = found.reach.longest_lag
    lags = [lag for lag in (1, 8, 64) if lag <= last]
    table = _table(
        "Norm of ∂L(t)/∂h(t−k), as a share of that at k = 0",
        *("way back", *(f"{lag} back" for lag in lags), "10 % at", "1 % at", "per step"),
    )
    for curve in found.reach.curves:
        reached = (curve.reach(share) for share in (0.1, 0.01))
        at = (f"> {last}" if lag is None else str(lag) for lag in reached)
        table.add_row(curve.name, *(_share(curve.mean[lag]) for lag in lags), *at, f"×{curve.factor:.3f}")
    return table


def _share(value: float) -> str:
    """A share of one in percent, with as many digits as it takes to see that it is not nothing."""
    return f"{value:.3%}" if value < 0.01 else f"{value:.1%}" if value < 0.1 else f"{value:.0%}"


def _matrices(found: Diagnosis) -> Table:
    table = _table("Recurrent matrices", "gate", "spectral radius", "largest singular value")
    for matrix in found.reach.matrices:
        table.add_row(matrix.name, f"{matrix.spectral_radius:.3f}", f"{matrix.largest_singular_value:.3f}")
    return table


def _truncation(found: Diagnosis) -> Table:
    title = f"Truncated gradient of the recurrence, beside that over {found.truncation.steps} steps"
    table = _table(title, "window", "cosine", "norm ratio")
    for one in found.truncation.by_window:
        mark = " (training)" if one.window == found.window else ""
        table.add_row(f"{one.window}{mark}", f"{one.cosine:.4f}", f"{one.norm_ratio:.3f}")
    return table


def _gates(found: Diagnosis) -> Table:
    table = _table("Gates", "gate", "mean", "below 0.1 (tanh −0.9)", "above 0.9")
    for gate in found.gates:
        table.add_row(gate.name, f"{gate.mean:.3f}", f"{gate.low:.1%}", f"{gate.high:.1%}")
    return table


def _norms(found: Diagnosis) -> Table:
    of = "updates of training" if found.norms_of_training else "windows, at the weights as they are"
    norms = found.norms
    table = _table(f"Gradient norm, {len(norms.total)} {of}", "layer", "mean", "90 %", "longest", "clipped")
    for layer, values in norms.by_layer.items():
        table.add_row(layer, *_summary(values), "")
    share = norms.clipped(found.clip_norm)
    clipped = "no limit" if share is None else f"{share:.1%} at {found.clip_norm:g}"
    table.add_row("all", *_summary(norms.total), clipped)
    return table


def _summary(values: np.ndarray) -> Iterator[str]:
    return (f"{value:.3g}" for value in (values.mean(), np.quantile(values, 0.9), values.max()))
