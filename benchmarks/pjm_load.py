"""How well is the load of `pjm-load` forecast on the 13 weeks held out, beside seasonal naive and AutoETS?

The recipe that the bundled model's manifest records is trained from several seeds by the very command, and every one is
measured through its published graphs, a day ahead at each midnight. Nothing is chosen by these weeks: the bundled
version is the seed that was best on validation. AutoETS is fitted anew at each origin.

    python -m benchmarks pjm_load --data pjm_in_zone.csv --jobs 2
"""

from __future__ import annotations

import argparse
import hashlib
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.over_seeds import mean_and_spread
from benchmarks.table import print_table
from benchmarks.workplace import FOLDER, ROOT
from service.contract.manifest import Manifest, load_manifest
from training.evaluate_forecasters import Subject, compare
from training.evaluate_settings import BacktestSettings
from training.forecaster_settings import FileSettings
from training.waiting import waiting

TEST = "13W"
BASELINES = ("seasonal_naive_24", "seasonal_naive_168")
COLUMNS = {
    "mase": "MASE",
    "mean_weighted_quantile_loss": "mean wQL",
    "scaled_quantile_loss": "SQL",
    "msis": "MSIS",
    "coverage_80": "80 % coverage",
    "coverage_80_one_step": "one step",
}


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks pjm_load", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="pjm_in_zone.csv")
    parser.add_argument("--model", type=Path, help="published version; the newest of models/pjm-load otherwise")
    parser.add_argument("--seeds", default="0,1,2", help="to train the recipe from; none if empty")
    parser.add_argument("--jobs", type=int, default=1, help="processes for AutoETS and the forecasts")
    parser.add_argument("--without-ets", action="store_true", help="leave AutoETS out, which takes minutes")
    chosen = parser.parse_args(arguments)
    model = chosen.model or newest(ROOT / "models" / "pjm-load")
    manifest = load_manifest(model)
    seeds = [int(seed) for seed in chosen.seeds.split(",") if seed]
    trained = [train(manifest, chosen.data, seed) for seed in seeds]
    names = [*BASELINES, *([] if chosen.without_ets else ["AutoETS"])]
    baselines = measured([Subject(name) for name in names], chosen.data, chosen.jobs, refit=True)
    bundled = measured([Subject(manifest.id, model, manifest)], chosen.data, chosen.jobs)
    found = [measured([_subject(folder)], chosen.data, chosen.jobs)[_subject(folder).name] for folder in trained]
    rows = {name.replace("_", " "): _plain(baselines[name]) for name in names}
    rows[f"{manifest.id} as bundled, seed {manifest.training.seed}"] = _plain(bundled[manifest.id])
    if found:
        rows[f"the same recipe, seeds {chosen.seeds}"] = mean_and_spread(found)
    print_table(
        f"Hourly load, a day ahead, the last {TEST}",
        ["", *COLUMNS.values()],
        ([name, *(cells.get(key, "–") for key in COLUMNS)] for name, cells in rows.items()),
    )


def measured(
    subjects: Sequence[Subject], data: Path, jobs: int, *, refit: bool = False
) -> Mapping[str, Mapping[str, float]]:
    """Metrics of each on the weeks held out."""
    settings = BacktestSettings(test_length=TEST, horizon=24, frequency="1h", refit=refit, jobs=jobs)
    outcomes = compare(subjects, data, FileSettings(), settings).outcomes
    return {subject.name: outcomes[subject.name].metrics for subject in subjects}


def train(manifest: Manifest, data: Path, seed: int) -> Path:
    """The recipe of a published model from another seed, published apart; what is there already is taken."""
    recipe = manifest.training.command
    folder = FOLDER / "pjm_load" / hashlib.sha256(recipe.encode()).hexdigest()[:12] / f"seed-{seed}"
    versions = folder / "models" / "pjm-load"
    if not versions.exists():
        shutil.rmtree(folder, ignore_errors=True)
        command = with_options(recipe, {"--data": data, "--models": folder / "models", "--seed": seed})
        with waiting(f"training from seed {seed}"):
            subprocess.run(
                [sys.executable, *command[1:], "--name", "pjm-load", "--run-folder", str(folder / "run")],
                check=True,
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
            )
    return newest(versions)


def with_options(command: str, options: Mapping[str, object]) -> list[str]:
    """The words of a recorded command with other values for some options, and without a name or a run folder."""
    words = shlex.split(command)
    left_out = {*options, "--name", "--run-folder"}
    kept = [
        word
        for place, word in enumerate(words)
        if word.partition("=")[0] not in left_out and not (place and words[place - 1] in left_out)
    ]
    return kept + [str(word) for option in options.items() for word in option]


def newest(versions: Path) -> Path:
    """The folder of a model's latest version."""
    return max((path for path in versions.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name))


def _subject(folder: Path) -> Subject:
    return Subject(str(folder), folder, load_manifest(folder))


def _plain(metrics: Mapping[str, float]) -> dict[str, str]:
    return mean_and_spread([metrics])
