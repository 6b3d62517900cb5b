"""The floor under completions: the text generator's graphs called in this process, all texts in one batch."""

from __future__ import annotations

import time
from functools import cache

import numpy as np
import onnxruntime

from benchmarks.models import TEXT_GENERATOR, repository

_RUNS_TO_WARM_UP = 2


def characters_per_second(texts: int, prompt: int, length: int, seconds: float) -> float:
    """Characters a second when so many texts take a prompt in and go on for so long, two runs for all of them."""
    random = np.random.default_rng(0)
    tokens = random.integers(1, 20, (texts, prompt))
    controls = {
        "uniforms": random.uniform(0.001, 0.999, (texts, length)).astype(np.float32),
        "temperature": np.ones(texts, np.float32),
        "top_p": np.ones(texts, np.float32),
    }
    (first,) = _graph("initial").run(["state"], {})
    start = np.repeat(first, texts, axis=0)

    def complete() -> None:
        (state,) = _graph("observe").run(["next_state"], {"state": start, "tokens": tokens})
        _graph("generate").run(["tokens", "next_state"], {"state": state, **controls})

    for _ in range(_RUNS_TO_WARM_UP):
        complete()
    runs, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        complete()
        runs += 1
    return runs * texts * length / elapsed


@cache
def _graph(name: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    path = repository() / TEXT_GENERATOR / "1" / f"{name}.onnx"
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
