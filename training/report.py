"""The model card: a README.md beside the model that says what it is, how well it does and how to make it again.

Takes plain data and writes into the folder of an export, before it is published. Its plots are in
`training.evaluation.plots`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.class_section import ClassSection
from training.evaluation.plots import Fan, plot_coverage, plot_fans, plot_loss

Metrics = Mapping[str, float]

CARD_FILE = "README.md"
LOSS_FILE, FORECASTS_FILE, COVERAGE_FILE = "loss.png", "forecasts.png", "coverage.png"

DEVIATION = "_deviation"
METRIC_NAMES = {
    "macro_f1": "macro-F1",
    "mase": "MASE",
    "smape": "sMAPE (%)",
    "nd": "ND",
    "mean_weighted_quantile_loss": "mean weighted quantile loss",
    "scaled_quantile_loss": "SQL",
    "msis": "MSIS",
    "coverage_80": "80 % coverage",
    "coverage_80_one_step": "80 % coverage, one step",
}


@dataclass(frozen=True)
class LossCurve:
    """Losses by epoch, and the epoch (from 0) whose weights were kept."""

    train: Sequence[float]
    validation: Sequence[float]
    best: int
    label: str


@dataclass(frozen=True)
class Card:
    """What every card says. Settings may hold groups, by name."""

    name: str
    description: str
    license: str
    command: str
    commit: str
    data_name: str
    data_sha256: str
    seed: int
    settings: Mapping[str, Any]
    metrics: Metrics
    baselines: Mapping[str, Metrics]
    loss: LossCurve | None = None
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class ForecastSection:
    """What the card of a forecaster shows: sample forecasts and how often values fell below each quantile."""

    evaluated: str
    """In words: on what, how far ahead, from how many origins."""
    fans: Sequence[Fan]
    covered: Mapping[float, float]
    pit: Sequence[float]
    unit: str | None = None


@dataclass(frozen=True)
class TextSection:
    """What the card of a text generator shows: texts it wrote, by a heading."""

    evaluated: str
    samples: Mapping[str, str] = field(default_factory=dict)


def write_card(folder: Path, card: Card, section: ForecastSection | TextSection | ClassSection) -> list[Path]:
    """Write README.md and its plots into a folder, and return the files."""
    files = [folder / CARD_FILE]
    parts = [_head(card), _results(card, section.evaluated)]
    if isinstance(section, ForecastSection):
        parts.append(_forecasts(folder, section, files))
    elif isinstance(section, ClassSection):
        text, plots = section.render(folder)
        parts.append(text)
        files += plots
    else:
        parts.append(_samples(section))
    if card.loss is not None:
        plot_loss(folder / LOSS_FILE, card.loss.train, card.loss.validation, card.loss.best, card.loss.label)
        files.append(folder / LOSS_FILE)
        parts.append(f"## Training\n\n![Loss by epoch]({LOSS_FILE})\n")
    parts.append(_reproduction(card))
    files[0].write_text("\n".join(parts), encoding="utf-8")
    return files


def _head(card: Card) -> str:
    notes = "".join(f"\n{note}\n" for note in card.notes)
    return f"# {card.name}\n\n{card.description}\n{notes}\nLicence: {card.license}\n"


def _results(card: Card, evaluated: str) -> str:
    rows = {card.name: card.metrics, **card.baselines}
    return f"## Results\n\n{evaluated}\n\n{metrics_table(rows)}"


def metrics_table(rows: Mapping[str, Metrics]) -> str:
    """A markdown table with a row per model and a column per metric; a dash where a model lacks one.

    A metric's deviation over several trainings, where there is one, stands beside it.
    """
    columns = [
        name for name in dict.fromkeys(name for metrics in rows.values() for name in metrics) if _is_column(name)
    ]
    header = ["", *(METRIC_NAMES.get(name, name.replace("_", " ")) for name in columns)]
    lines = [header, ["---", *["---:"] * len(columns)]]
    for model, metrics in rows.items():
        cells = (_number(metrics.get(name), metrics.get(name + DEVIATION)) for name in columns)
        lines.append([model.replace("_", " "), *cells])
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def _is_column(name: str) -> bool:
    return not name.endswith(DEVIATION)


def _number(value: float | None, deviation: float | None) -> str:
    if value is None:
        return "–"
    shown = f"{value:,.0f}" if value >= 10_000 else f"{value:.4g}"
    return shown if deviation is None else f"{shown} ± {deviation:.2g}"


def _forecasts(folder: Path, section: ForecastSection, files: list[Path]) -> str:
    plot_fans(folder / FORECASTS_FILE, section.fans, section.unit)
    plot_coverage(folder / COVERAGE_FILE, section.covered, section.pit)
    files += [folder / FORECASTS_FILE, folder / COVERAGE_FILE]
    return (
        f"## Sample forecasts\n\nEvenly spaced over the test, not chosen.\n\n![Sample forecasts]({FORECASTS_FILE})\n\n"
        f"## Calibration\n\n![Coverage]({COVERAGE_FILE})\n"
    )


def _samples(section: TextSection) -> str:
    blocks = [f"### {heading}\n\n{_fenced(sample)}\n" for heading, sample in section.samples.items()]
    return "## Samples\n\nAs they came, not chosen.\n\n" + "\n".join(blocks)


def _fenced(text: str) -> str:
    """A code block, its fence longer than any inside the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text.strip()}\n{fence}"


def _reproduction(card: Card) -> str:
    rows = "".join(f"| {name} | {value} |\n" for name, value in _flat(card.settings))
    return (
        f"## Reproduce\n\n```sh\n{card.command}\n```\n\n"
        f"Code at commit `{card.commit}`, seed {card.seed}. Data: `{card.data_name}`, SHA-256\n"
        f"`{card.data_sha256}`.\n\n"
        f"| setting | value |\n| --- | --- |\n{rows}"
    )


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{name}.")
        elif value not in (None, "", [], ()):
            shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            rows.append((prefix + name, shown.replace("|", "\\|").replace("\n", "\\n")))
    return rows
