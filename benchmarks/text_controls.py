"""What the controls of text generation cost: tokens per second inside the graph and beside it, alone and in a crowd;
and how long the next answer of a session takes after more and more history.

In one process, below the protocols, on the bundled text models.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.table import print_table
from service.app import create_app
from service.models.model import Model
from service.protocols.context import Context
from service.sessions.service import OpenSession, Service
from service.settings import Settings
from service.tasks.text import Constraint, GenerateRequest, Prefill, complete, generate, observe_text, tokens_of

MODELS = ("shakespeare", "songci")
PROMPTS = {"shakespeare": "ROMEO:\n", "songci": "春"}
TOKENS, CROWD = 256, 16
PLAIN = GenerateRequest(TOKENS, temperature=0.8, top_p=0.95, seed=1)
ASKED = {
    "temperature, top_p: in the graph": PLAIN,
    "a stop string as well": replace(PLAIN, stop=("\n\n\n\n",)),
    "log-probabilities of 5 as well": replace(PLAIN, logprobs=5),
    "min_p: beside the graph": replace(PLAIN, min_p=0.01),
    "every filter and penalty": replace(PLAIN, top_k=50, min_p=0.01, typical_p=0.95, frequency_penalty=0.3),
    "a regular expression": replace(PLAIN, constraint=Constraint("regex", r"(?s:.)+")),
}
HISTORIES = (100, 1_000, 10_000, 100_000)


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks text_controls", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    asyncio.run(_measure(parser.parse_args(arguments).rounds))


async def _measure(rounds: int) -> None:
    async with _running() as service:
        for name in MODELS:
            model = service.repository.get(name)
            rows = []
            base = 0.0
            for what, request in ASKED.items():
                alone = await _rate(service, model, request, 1, rounds)
                crowd = await _rate(service, model, request, CROWD, rounds)
                base = base or alone
                rows.append((what, f"{alone:,.0f}", f"{crowd:,.0f}", f"{alone / base:.2f}"))
            columns = ["tokens/s", "1 text", f"{CROWD} texts", "of the first, 1 text"]
            print_table(f"{model.manifest.id}: {TOKENS} tokens without a session", columns, rows)
        await _histories(service, rounds)


async def _rate(service: Service, model: Model, request: GenerateRequest, texts: int, rounds: int) -> float:
    """Tokens per second of so many texts at once; the median over the rounds."""
    prefill = Prefill(tokens_of(model, PROMPTS[model.manifest.name], None))

    async def one(index: int) -> int:
        pieces = complete(service, model, prefill, request, sample_index=index)
        return sum([len(piece.tokens) async for piece in pieces])

    rates = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        counts = await asyncio.gather(*map(one, range(texts)))
        rates.append(sum(counts) / (time.perf_counter() - started))
    return statistics.median(rates[1:])


async def _histories(service: Service, rounds: int) -> None:
    rows = []
    for name in MODELS:
        model = service.repository.get(name)
        assert model.manifest.text is not None
        for length in HISTORIES:
            session = await service.open(OpenSession(name, owner=None))
            history = np.random.default_rng(0).integers(2, model.manifest.text.vocabulary_size, length)
            await observe_text(session, tokens=history.tolist())
            first, whole = [], []
            for _ in range(rounds + 1):
                started = time.perf_counter()
                pieces = generate(session, replace(PLAIN, max_tokens=64), prompt=tokens_of(model, PROMPTS[name], None))
                await anext(pieces)
                first.append(time.perf_counter() - started)
                async for _ in pieces:
                    pass
                whole.append(time.perf_counter() - started)
            times = (f"{statistics.median(found[1:]) * 1e3:.1f} ms" for found in (first, whole))
            rows.append((f"{model.manifest.id}, {length:,}", *times, f"{session.engine.table.row_bytes:,}"))
    columns = ["history in tokens", "first piece", "64 tokens", "bytes of state"]
    print_table("a follow-up in a session", columns, rows)


@asynccontextmanager
async def _running() -> AsyncIterator[Service]:
    app = create_app(Settings(models=Path("models"), journal="memory:", grpc_port=-1, log_level="error"))
    async with app.router.lifespan_context(app):
        context: Context = app.state.context
        yield context.service
