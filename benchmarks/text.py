"""How many characters a second do concurrent completions give, beside calling the graph in this process?

`wrk` sends OpenAI completion requests, whole and streamed, one on each connection. The floor takes all prompts in and
draws all texts in two runs, with nothing around them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence

from benchmarks import models, text_floor, wrk
from benchmarks.plain_http import prepared, send
from benchmarks.server import running_server
from benchmarks.table import print_table, rate, ratio

PROMPT = "The "
WAYS = {"completions": False, "completions, streamed": True}


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks text", description=__doc__)
    parser.add_argument("--texts", type=int, default=64, help="at the same time")
    parser.add_argument("--length", type=int, default=200, help="characters of each")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    chosen = parser.parse_args(arguments)
    if not wrk.is_installed():
        print(f"text is {wrk.MISSING}", file=sys.stderr)
        return
    floors: list[float] = []
    loads: dict[str, list[wrk.Load]] = {name: [] for name in WAYS}
    with running_server(models.repository()) as server:
        _check_length(server.address, chosen.length)
        for number in range(1 + chosen.rounds):  # the first warms up
            floors.append(text_floor.characters_per_second(chosen.texts, len(PROMPT), chosen.length, chosen.seconds))
            for name, stream in WAYS.items():
                requests = [_request(seed, chosen.length, stream=stream) for seed in range(chosen.texts)]
                seconds = chosen.seconds if number else 1
                loads[name].append(wrk.replay(server.address, requests, seconds, server.process_id))
    _print(f"{chosen.texts} completions of {chosen.length} characters", chosen.length, floors[1:], loads)


def _request(seed: int, length: int, *, stream: bool) -> bytes:
    body = {"model": models.TEXT_GENERATOR, "prompt": PROMPT, "max_tokens": length, "seed": seed, "stream": stream}
    return prepared("/v1/completions", json.dumps(body).encode())


def _check_length(address: str, length: int) -> None:
    answer = json.loads(send(address, _request(0, length, stream=False)))
    text = answer["choices"][0]["text"]
    if len(text) != length:
        raise RuntimeError(f"expected {length} characters, got {len(text)}: {text!r}")


def _print(title: str, length: int, floors: list[float], loads: dict[str, list[wrk.Load]]) -> None:
    bare = statistics.median(floors)
    rows: list[tuple[object, ...]] = [("the graph in this process (the floor)", rate(bare), 1, "", "", "", "")]
    for name, seen in loads.items():
        characters = length * statistics.median(load.requests_per_second for load in seen[1:])
        rows.append(
            (
                name,
                rate(characters),
                ratio(characters / bare),
                f"{statistics.median(load.median_ms for load in seen[1:]):.0f}",
                f"{statistics.median(load.p99_ms for load in seen[1:]):.0f}",
                ratio(statistics.median(load.server.cores for load in seen[1:])),
                ratio(statistics.median(load.generator_cores for load in seen[1:])),
            )
        )
    columns = ["", "characters/s", "of the floor", "median ms", "99 % ms", "server cores", "wrk cores"]
    print_table(f"{title}, LSTM-128 character model", columns, rows)
