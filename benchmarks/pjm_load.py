"""How well is the load of `pjm-load` forecast on the 13 weeks held out, beside seasonal naive and AutoETS?

The recipe that the bundled model's manifest records is trained from several seeds by the very command, and every one is
measured through its published graphs, a day ahead at each midnight; the bundled version stands for its own seed.
AutoETS and AutoTheta are fitted anew at each origin; left to itself, AutoETS takes a form without a season here, so it
stands a second time, made to take one.

    python -m benchmarks pjm_load --data pjm_in_zone.csv --jobs 2
"""

from __future__ import annotations

import argparse
import hashlib
import shlex
import shutil
import subprocess
import sys
import tempfile
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
FITTED = ("AutoTheta", "AutoETS", "AutoETS_seasonal")
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
    parser.add_argument("--jobs", type=int, default=1, help="processes for fits and forecasts")
    parser.add_argument(
        "--without-fits", action="store_true", help="leave AutoETS and AutoTheta out: they take minutes"
    )
    chosen = parser.parse_args(arguments)
    model = chosen.model or newest(ROOT / "models" / "pjm-load")
    manifest = load_manifest(model)
    seeds = [int(seed) for seed in chosen.seeds.split(",") if seed]
    trained = [model if seed == manifest.training.seed else train(manifest, chosen.data, seed) for seed in seeds]
    names = [*BASELINES, *(() if chosen.without_fits else FITTED)]
    baselines = measured([Subject(name) for name in names], chosen.data, chosen.jobs, refit=True)
    bundled = measured([Subject(manifest.id, model, manifest)], chosen.data, chosen.jobs)
    found = [measured([_subject(folder)], chosen.data, chosen.jobs)[_subject(folder).name] for folder in trained]
    rows = {name.replace("_", " "): _plain(baselines[name]) for name in names}
    rows[f"{manifest.id} as bundled, {described(model)}"] = _plain(bundled[manifest.id])
    if found:
        rows |= {f"the same recipe, {described(one)}": _plain(two) for one, two in zip(trained, found, strict=True)}
        rows[f"mean of seeds {chosen.seeds}"] = mean_and_spread(found)
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
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        apart = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"seed-{seed}-"))
        with waiting(f"training from seed {seed}"):
            _run(with_options(recipe, {"--data": data, "--models": apart / "models", "--seed": seed}), apart)
        try:
            apart.rename(folder)  # only now: another run of this benchmark may be training the same
        except OSError:
            if not folder.exists():
                raise
            shutil.rmtree(apart)
    return newest(folder / "models" / "pjm-load")


def _run(command: Sequence[str], folder: Path) -> None:
    """Run a training, with what it prints in a file of the folder."""
    words = [sys.executable, *command[1:], "--name", "pjm-load", "--run-folder", str(folder / "run")]
    with (folder / "log.txt").open("w") as log:
        subprocess.run(words, check=True, cwd=ROOT, stdout=log, stderr=log)


def described(folder: Path) -> str:
    """Seed and decoder of a version; validation may have chosen another decoder for another seed."""
    manifest = load_manifest(folder)
    return f"seed {manifest.training.seed}, {'direct' if 'forecast' in manifest.graphs else 'ancestral'}"


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
