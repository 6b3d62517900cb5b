"""Small requests that ask for very much: they are answered or refused, and nobody waits behind them."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.protocols.text_controls import TokenOffsets
from service.tasks.constraint import Follower
from tests import known_models
from tests.service.protocols.serving import Served, serve

MODEL = known_models.NEXT_TOKEN
HELD_SECONDS = 0.5  # of a loop that others share, on a machine that is busy with more


@pytest.fixture(scope="module")
def served(protocol_models: Path) -> Iterator[Served]:
    """A server with its usual bounds."""
    with serve(protocol_models) as running:
        yield running


@contextmanager
def others_wait_little(served: Served) -> Iterator[None]:
    """Ask for the server's health all the while, and check how long an answer took at worst."""
    done, waits = threading.Event(), list[float]()

    def ask() -> None:
        with httpx.Client(base_url=served.url, timeout=60) as client:
            while not done.wait(0.005) or not waits:
                begun = time.monotonic()
                assert client.get("/health/live").status_code == 200
                waits.append(time.monotonic() - begun)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        done.set()
        asking.join()
    assert waits and max(waits) < HELD_SECONDS


def complete(served: Served, **body: Any) -> httpx.Response:
    return served.post("/v1/completions", {"model": MODEL, "prompt": "a", "temperature": 0, "max_tokens": 5, **body})


def test_a_language_of_endless_text_holds_nobody(served: Served) -> None:
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with others_wait_little(served):
        answer = complete(served, prompt=["a"] * 16, n=16, regex="(a{3000}){1000}")
    assert answer.status_code == 200, answer.text
    assert [choice["text"] for choice in answer.json()["choices"]] == ["aaaaa"] * 256
    assert time.monotonic() - begun < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_a_language_is_compiled_once_for_all_texts(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled, compile_ = list[object](), Follower.compile

    def counting(*given: Any) -> Follower:
        compiled.append(given)
        return compile_(*given)

    monkeypatch.setattr(Follower, "compile", counting)
    answer = complete(served, prompt=["a", "b"], n=3, regex="[ab]{5}")
    assert answer.status_code == 200 and len(compiled) == 1
    assert complete(served, prompt=["a", "b"], n=3, regex="[A-Z]").status_code == 400 and len(compiled) == 2


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_told_of_a_prompt_is_read_and_built_once(
    served: Served, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    alone = [complete(served, prompt=prompt, echo=True, logprobs=2).json()["choices"][0] for prompt in ("abc", "xy")]
    fed, of = list[list[int]](), TokenOffsets.of

    def noting(self: TokenOffsets, tokens: list[int]) -> list[int]:
        fed.append(tokens)
        return of(self, tokens)

    monkeypatch.setattr(TokenOffsets, "of", noting)
    answer = complete(served, prompt=["abc", "xy"], n=3, echo=True, logprobs=2, stream=stream)
    assert answer.status_code == 200
    assert sum(len(tokens) == 3 for tokens in fed) == sum(len(tokens) == 2 for tokens in fed) == 1
    if not stream:
        told = [{**choice, "index": 0} for choice in answer.json()["choices"]]
        assert told == [alone[0]] * 3 + [alone[1]] * 3


def test_many_log_probabilities_hold_nobody_and_too_many_are_refused(served: Served) -> None:
    prompt = "abcd" * 5000
    with others_wait_little(served):
        answer = complete(served, prompt=prompt, echo=True, logprobs=2, n=8, max_tokens=1)
        assert answer.status_code == 200
    for choice in answer.json()["choices"]:
        assert len(choice["logprobs"]["top_logprobs"]) == len(choice["text"]) == 20_001
        assert choice["logprobs"]["text_offset"] == list(range(20_001))
    refused = complete(served, prompt=prompt, echo=True, logprobs=20, n=16, max_tokens=1)
    assert refused.status_code in (400, 413) and refused.json()["error"]["param"] == "logprobs"
    assert "at most 2000000 log-probabilities, got 6720336" in refused.json()["error"]["message"]


def test_very_many_or_very_long_biased_tokens_are_refused(served: Served) -> None:
    refused = complete(served, logit_bias={str(token): 1 for token in range(100_000)})
    assert refused.status_code == 400 and "logit_bias: expected at most 1024 tokens" in refused.text
    for path, extra in (("/v1/completions", {"model": MODEL}), (f"/v1/sessions/{served.open(MODEL)}/generate", {})):
        for digits in (19, 5000):
            refused = served.post(path, {"max_tokens": 1, "logit_bias": {"1" * digits: 1.0}, **extra})
            assert refused.status_code in (400, 422), refused.text
            assert f"logit_bias: unknown token id 111111111111111111… of {digits} digits" in refused.text
