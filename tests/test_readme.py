"""The README's examples, run as they stand against a real server, answer what the README shows.

A block of `sh` with curl is followed by a block of what one should see, in which … stands for whatever was left out.
Numbers may differ in their last digits from one processor to another.
"""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import pytest

from benchmarks.server import ROOT, ServerProcess, running_server
from service.contract.manifest import load_manifest

README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLE = re.compile(
    r"```sh\n(?P<commands>(?:(?!```).)*?curl(?:(?!```).)*?)```\s+```json\n(?P<shown>.*?)```",
    re.DOTALL,
)
RESULT = re.compile(r"^\| `([a-z-]+)` \|.*?\| ([^|]+) \| ([\d.]+) \| ([^|]+) \|$", re.MULTILINE)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")
EXAMPLES = [(found["commands"], found["shown"]) for found in EXAMPLE.finditer(README)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    journal = tmp_path_factory.mktemp("readme") / "unroll.db"
    with running_server(ROOT / "models", "--journal", f"sqlite://{journal}") as server:
        yield server


def test_the_readme_shows_a_forecast_a_poem_and_a_session() -> None:
    shown = " ".join(commands for commands, _ in EXAMPLES)
    assert all(route in shown for route in ("/v1/timeseries/forecast", "/v1/completions", "/v1/sessions/jc/observe"))


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_each_example_answers_what_is_shown(server: ServerProcess) -> None:
    # One after the other, in one shell's words: later ones use what earlier ones set and opened.
    for commands, shown in zip(accumulate((commands for commands, _ in EXAMPLES), _after), EXAMPLES, strict=True):
        script = commands.replace("127.0.0.1:8000", server.address)
        done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert_shown(shown[1], done.stdout)


def _after(before: str, commands: str) -> str:
    """The commands with the shell variables that earlier ones set."""
    variables = "\n".join(re.findall(r"^[A-Z]+='[^']*'$", before, re.MULTILINE))
    return f"{variables}\n{commands}"


def assert_shown(shown: str, answered: str) -> None:
    """Each fragment between two … occurs in the answer, in order; numbers to four digits."""
    rest = _without_spaces(answered)
    for fragment in filter(None, map(_without_spaces, shown.split("…"))):
        pattern = NUMBER.sub(
            lambda _: f"({NUMBER.pattern})", re.escape(fragment).replace(r"\-", "-").replace(r"\.", ".")
        )
        for found in re.finditer(pattern, rest):
            pairs = zip(NUMBER.findall(fragment), NUMBER.findall(found[0]), strict=True)
            if all(math.isclose(float(wanted), float(number), rel_tol=1e-4, abs_tol=1e-4) for wanted, number in pairs):
                rest = rest[found.end() :]
                break
        else:
            raise AssertionError(f"the README shows {fragment}\nbut the answer goes on with {rest}")


def _without_spaces(text: str) -> str:
    return re.sub(r"\s+", "", text)


def test_every_file_that_the_readme_names_exists() -> None:
    for name in re.findall(r"`([\w./-]+/[\w.-]+)`", README):
        if name.split("/")[0] in ("service", "training", "models", "docker", "benchmarks", "tests"):
            assert list(Path(ROOT).glob(name)), name


@pytest.mark.parametrize("row", RESULT.findall(README))
def test_the_results_are_those_of_the_published_models(row: tuple[str, str, str, str]) -> None:
    name, metric, value, baseline = row
    training = load_manifest(ROOT / "models" / name / "1").training
    assert _measured(training.metrics, metric, value), (name, metric)
    other, _, shown = baseline.partition(": ")
    key = {"5-gram": "five_gram"}.get(other, other.replace(" ", "_"))
    assert not shown or _measured(training.baselines[key], metric, shown), (name, baseline)


def _measured(metrics: dict[str, float], metric: str, shown: str) -> bool:
    """Whether some metric of that name, rounded as shown, has this value."""
    name = {"coverage of 80 % intervals": "coverage_80"}.get(metric, metric.lower().replace(" ", "_"))
    digits = len(shown.split(".")[1])
    return any(f"{value:.{digits}f}" == shown for key, value in metrics.items() if key.endswith(name))
