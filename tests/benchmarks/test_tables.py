"""What is printed: a table whose rows are whole, and ratios of what was measured in the same rounds."""

from __future__ import annotations

import importlib

import pytest

pytest.importorskip("torch", reason="the exporter makes the models that benchmarks serve")

from benchmarks.processes import Usage
from benchmarks.serving_table import Loads, print_serving
from benchmarks.wrk import Load

# The others take many seconds: what they are made of is tested beside this file.
BRIEFLY = {"one_stream": "--rounds 1 --steps 20", "startup": "--rounds 1"}


@pytest.mark.parametrize("name", BRIEFLY)
def test_a_benchmark_prints_a_table(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    importlib.import_module(f"benchmarks.{name}").main(BRIEFLY[name].split())
    assert len(rows_of(capsys)) >= 3


def test_a_server_is_compared_with_triton_by_the_same_protocol_and_else_by_its_best(
    capsys: pytest.CaptureFixture[str],
) -> None:
    loads: Loads = {
        ("Unroll", "native JSON", 1): [load(900), load(600), load(500)],
        ("Unroll", "V2 JSON", 1): [load(300)],
        ("Triton", "V2 JSON", 1): [load(100)],
        ("Triton", "V2 binary", 1): [load(200)],
    }
    print_serving(loads, {1: [1200.0]})
    told = {row[0]: row[2:5] for row in rows_of(capsys)}
    assert told["Unroll, native JSON"] == ["600", "3.00", "0.500"]
    assert told["Unroll, V2 JSON"] == ["300", "3.00", "0.250"]
    assert told["Triton, V2 binary"] == ["200", "1.00", "0.167"]


def test_the_saturated_are_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    loads: Loads = {
        ("idle", "JSON", 1): [load(1, Usage(0.3, 0.3, 0.4))],
        ("one thread", "JSON", 1): [load(1, Usage(1.0, 0.97, 1.1))],
        ("everything", "JSON", 1): [load(1, Usage(1.2, 0.8, 1.9))],
    }
    print_serving(loads, {1: [1.0]})
    told = {row[0]: row[-1] for row in rows_of(capsys)}
    assert told["idle, JSON"] == "nobody"
    assert told["one thread, JSON"] == "a thread of the server"
    assert told["everything, JSON"] == "all cores (other processes used 0.6 cores)"


def load(rate: float, server: Usage | None = None) -> Load:
    return Load(rate, 1.0, 2.0, server or Usage(), generator_cores=0.1)


def rows_of(capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """The cells of what was printed, row by row."""
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1
    return [[cell.strip(" ") for cell in line[2:-2].split(" | ")] for line in lines]
