"""Parity of an exported text generator with its network: likelihoods, draws and state."""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray

from training.export.exported import Exported, Verified
from training.export.parity import (
    BATCHES,
    LENGTHS,
    ParityError,
    check_exactness,
    require_close,
    require_same_bits,
)
from training.export.runner import Array, ExportedTextGenerator, Named, Tokens
from training.networks.text_generator import TextGenerator

_TEMPERATURES = (1.0, 0.7, 1.3, 0.0)
_TOP_P = (1.0, 0.9, 0.5)
_CDF_MARGIN = 1e-3  # how far a uniform may lie outside the token's part of the cumulative distribution


def text_parity(network: TextGenerator, exported: Exported) -> Verified:
    """The export, once it is shown to compute what the network computes.

    Compared at several batch sizes and lengths: log-probabilities and drawn tokens with PyTorch; the whole with
    pieces and single steps, a batch with its rows alone, and generating with observing what was generated, bit for
    bit.

    Raises:
        ParityError: the first check that fails, and by how much.
    """
    graphs = ExportedTextGenerator(exported.folder)
    network = copy.deepcopy(network).cpu().eval()
    errors = [_check(network, graphs, batch, length) for batch in BATCHES for length in LENGTHS]
    return Verified(exported, max(errors))


def _check(network: TextGenerator, graphs: ExportedTextGenerator, batch: int, length: int) -> float:
    """Largest error of one comparison: `length` observed tokens, and as many generated ones."""
    rng = np.random.default_rng(batch * 1000 + length)
    rows = graphs.initial(batch)
    tokens = rng.integers(0, network.vocabulary_size, (batch, length))
    observed = check_exactness(graphs, "observe", {"state": rows, "tokens": tokens}, ["tokens"])
    drawn = _generate(graphs, observed["next_state"], length, rng)
    start = rows[:, -1:].astype(np.int64)
    logits = _logits(network, np.concatenate([start, tokens, drawn["tokens"]], axis=1)[:, :-1])
    both = np.concatenate([tokens, drawn["tokens"]], axis=1)
    expected = torch.log_softmax(logits, -1).gather(2, torch.from_numpy(both)[..., None])[..., 0].numpy()
    found = np.concatenate([observed["log_probabilities"], drawn["log_probabilities"]], axis=1)
    where = f"batch {batch}, length {length}"
    _check_prediction(where, graphs, {"state": rows, "tokens": tokens}, observed, logits[:, :length])
    _check_draws(where, logits[:, length:], drawn, graphs.unknown_token)
    return require_close(f"{where}: log-probabilities, relative to 1 nat or themselves", _relative(expected, found))


def _check_prediction(
    where: str, graphs: ExportedTextGenerator, inputs: Named, observed: Named, logits: torch.Tensor
) -> None:
    """Logits as PyTorch has them, of the tokens that were observed, and the very row that observing leaves."""
    predicted = check_exactness(graphs, "predict", inputs, ["tokens"])
    require_same_bits(
        f"{where}: predicting against observing",
        {"next_state": predicted["next_state"]},
        {"next_state": observed["next_state"]},
    )
    # A small logit is the sum of large terms: what its rounding may be depends on those.
    largest = np.maximum(np.abs(logits.numpy()).max(axis=-1, keepdims=True), 1)
    require_close(f"{where}: logits, relative to the largest", (predicted["logits"] - logits.numpy()) / largest)


def _generate(graphs: ExportedTextGenerator, rows: Array, length: int, rng: np.random.Generator) -> Named:
    """Drawn tokens with what they were drawn from, and a state equal to having observed them."""
    batch = len(rows)
    inputs = {
        "state": rows,
        "uniforms": rng.uniform(1e-6, 1 - 1e-6, (batch, length)).astype(np.float32),
        "temperature": np.resize(_TEMPERATURES, batch).astype(np.float32),
        "top_p": np.resize(_TOP_P, batch).astype(np.float32),
    }
    generated = check_exactness(graphs, "generate", inputs, ["uniforms"])
    observed = graphs.run("observe", {"state": rows, "tokens": generated["tokens"]})
    require_same_bits(
        f"generating {length} tokens against observing them",
        {key: generated[key] for key in observed},
        observed,
    )
    return {**inputs, **generated}


def _check_draws(where: str, logits: torch.Tensor, drawn: Named, unknown_token: int | None) -> None:
    """Each uniform must fall into its token's part of the cumulative distribution that PyTorch computes."""
    if unknown_token is not None:
        logits = logits.clone()
        logits[..., unknown_token] = -torch.inf
    for row, (temperature, top_p) in enumerate(zip(drawn["temperature"], drawn["top_p"], strict=True)):
        tokens = torch.from_numpy(drawn["tokens"][row])[:, None]
        if temperature == 0:
            outside = logits[row].max(-1).values - logits[row].gather(1, tokens)[:, 0]
        else:
            uniforms = torch.from_numpy(drawn["uniforms"][row])[:, None]
            # A token at the very edge of the nucleus may be in or out by rounding: either is right.
            edges = (float(top_p) - _CDF_MARGIN, float(top_p) + _CDF_MARGIN)
            candidates = [_outside(logits[row] / float(temperature), edge, tokens, uniforms) for edge in edges]
            outside = torch.minimum(*candidates)
        worst = float(outside.max())
        if not worst <= _CDF_MARGIN:
            raise ParityError(
                f"{where}: a token drawn at temperature {temperature:g}, top_p {top_p:g} lies {worst:.3g} "
                f"outside of where PyTorch puts it, expected at most {_CDF_MARGIN:g}"
            )


def _outside(logits: torch.Tensor, top_p: float, tokens: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """How far (T) uniforms (T, 1) lie outside of their tokens' part of the distribution of logits (T, V)."""
    probabilities = torch.softmax(logits.double(), -1)
    ranked = probabilities.sort(-1, descending=True).values
    before = ranked.cumsum(-1) - ranked
    least = torch.where(before < top_p, ranked, 2).min(-1, keepdim=True).values
    kept = torch.where(probabilities < least, 0, probabilities) if top_p < 1 else probabilities
    upper = (kept.cumsum(-1) / kept.sum(-1, keepdim=True)).gather(1, tokens)
    lower = upper - (kept / kept.sum(-1, keepdim=True)).gather(1, tokens)
    return torch.maximum(lower - uniforms, uniforms - upper)[:, 0].clamp(min=0)


def _logits(network: TextGenerator, inputs: Tokens) -> torch.Tensor:
    with torch.no_grad():
        logits, _ = network(torch.from_numpy(inputs), network.recurrence.initial_state(len(inputs)))
    return torch.as_tensor(logits)


def _relative(expected: NDArray[np.float32], found: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray((found - expected) / np.maximum(np.abs(expected), 1), np.float32)
