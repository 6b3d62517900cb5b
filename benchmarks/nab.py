"""The Numenta Anomaly Benchmark: the general streaming model, one configuration for all streams and never trained on
any, beside itself without its network and beside simple detectors.

Several models of one recipe, trained from different seeds, give a mean and a spread. Without --model the bundled one is
scored.

    python -m benchmarks nab --data NAB [--model models/any-series/1 --model …]
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.nab_detectors import Values, at_random, published, windowed_gaussian, without_network
from benchmarks.nab_score import PROFILES, LabelledStream, Result, nab_score, read_benchmark
from benchmarks.table import print_table
from benchmarks.workplace import ROOT
from service.contract.manifest import load_manifest
from training.any_series_files import any_series_settings

BUNDLED = ROOT / "models" / "any-series" / "1"
RANDOM_SEEDS = range(10)
PUBLISHED = {  # on all 58 streams, by the benchmark's scoreboard
    "Numenta HTM (published, 58 streams)": ("70.1", "63.1", "74.3"),
    "Skyline (published, 58 streams)": ("58.2", "–", "–"),
    "Random Cut Forest (published, 58 streams)": ("51.7", "38.4", "59.7"),
    "windowed Gaussian (published, 58 streams)": ("39.6", "20.9", "47.4"),
}

Found = Mapping[str, Values]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks nab", description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the benchmark's repository, or streams and windows")
    parser.add_argument("--model", type=Path, action="append", help=f"a published model; {BUNDLED.name} otherwise")
    parser.add_argument("--streams", action="store_true", help="also list every stream")
    chosen = parser.parse_args(arguments)
    models: list[Path] = chosen.model or [BUNDLED]
    streams = read_benchmark(chosen.data)
    values = [stream.values for stream in streams.values()]
    runs = [dict(zip(streams, published(model, values), strict=True)) for model in models]
    settings = any_series_settings(load_manifest(models[0]).training.settings["network"])
    rows = [_row(f"{_name(models)}", runs, streams)]
    rows.append(
        _row("without its network", [dict(zip(streams, without_network(settings, values), strict=True))], streams)
    )
    rows.append(_row("windowed Gaussian", [_each(streams, windowed_gaussian)], streams))
    rows.append(_row("random", [_random(streams, seed) for seed in RANDOM_SEEDS], streams))
    rows.append(["nothing detected", *["0.0"] * len(PROFILES)])
    rows += [[name, *scores] for name, scores in PUBLISHED.items()]
    windows = sum(len(stream.windows) for stream in streams.values())
    title = f"Numenta Anomaly Benchmark, {len(streams)} streams, {windows} windows, one threshold for all"
    print_table(title, ["", *(profile.name for profile in PROFILES)], rows)
    if chosen.streams:
        _list_streams(nab_score(runs[0], streams, PROFILES[0]), streams)


def _name(models: Sequence[Path]) -> str:
    name = load_manifest(models[0]).name
    return f"{name}, {len(models)} seeds" if len(models) > 1 else name


def _each(streams: Mapping[str, LabelledStream], detect: Callable[[Values], Values]) -> Found:
    return {name: detect(stream.values) for name, stream in streams.items()}


def _random(streams: Mapping[str, LabelledStream], seed: int) -> Found:
    return {name: at_random(stream.values, seed * 1000 + n) for n, (name, stream) in enumerate(streams.items())}


def _row(name: str, runs: Sequence[Found], streams: Mapping[str, LabelledStream]) -> list[str]:
    """The score in every profile, of several runs as mean ± standard deviation."""
    cells = []
    for profile in PROFILES:
        scores = [nab_score(run, streams, profile).score for run in runs]
        spread = f" ± {statistics.stdev(scores):.1f}" if len(scores) > 1 else ""
        cells.append(f"{np.mean(scores):.1f}{spread}")
    return [name, *cells]


def _list_streams(result: Result, streams: Mapping[str, LabelledStream]) -> None:
    rows = [
        [name, f"{found}/{len(streams[name].windows)}", str(false), f"{gain:.2f}"]
        for name, (gain, false, found) in result.streams.items()
    ]
    title = f"Standard profile, score from {result.threshold:.4f} on"
    print_table(title, ["stream", "windows found", "false", "gain"], rows)


if __name__ == "__main__":
    main()
