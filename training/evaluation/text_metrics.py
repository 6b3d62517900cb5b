"""Loss of a text generator on held-out text, in nats per token and in bits per character and byte.

Two protocols: *streamed*, where one state goes through the whole text as in service, and *reset*, where the
state starts anew every so many tokens, which is how networks without memory between windows are measured.
Every token is scored in both. Shapes: B windows, T tokens per window, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from training.networks.text_generator import TextGenerator

WINDOWS_AT_ONCE = 64
TOKENS_AT_ONCE = 8192


def next_token_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean negative log-probability (nats) of targets (B, T) under logits (B, T, V)."""
    return nn.functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


def nats_per_token(
    network: TextGenerator, tokens: np.ndarray, start_token: int, reset_every: int | None = None
) -> float:
    """Mean loss over all tokens (N,), with the state reset every so many of them, or never.

    The token before a window is its first input; before the first window that is the start token.
    """
    inputs = torch.from_numpy(np.concatenate([[start_token], tokens[:-1]]).astype(np.int64))
    targets = torch.from_numpy(np.asarray(tokens, dtype=np.int64))
    length = min(reset_every or len(tokens), len(tokens))
    whole = len(tokens) // length * length
    total = 0.0
    for first in range(0, whole, length * WINDOWS_AT_ONCE):
        part = slice(first, min(first + length * WINDOWS_AT_ONCE, whole))
        total += _nats(network, inputs[part].view(-1, length), targets[part].view(-1, length))
    if whole < len(tokens):
        total += _nats(network, inputs[None, whole:], targets[None, whole:])
    return total / len(tokens)


@torch.no_grad()
def _nats(network: TextGenerator, inputs: Tensor, targets: Tensor) -> float:
    """Summed loss of windows (B, T), each with a state of its own, run in pieces that fit into memory."""
    network.eval()
    device = next(network.parameters()).device
    state = network.recurrence.initial_state(inputs.shape[0])
    total = 0.0
    piece = max(1, TOKENS_AT_ONCE // inputs.shape[0])
    for begin in range(0, inputs.shape[1], piece):
        logits, state = network(inputs[:, begin : begin + piece].to(device), state)
        part = targets[:, begin : begin + piece].to(device)
        total += next_token_loss(logits, part).item() * part.numel()
    return total


def quick_validation(network: TextGenerator, tokens: np.ndarray, start_token: int) -> Callable[[], float]:
    """A validation for use while training: the text streamed in 64 parts side by side, each from a zero state."""
    return lambda: nats_per_token(network, tokens, start_token, math.ceil(len(tokens) / WINDOWS_AT_ONCE))


def text_metrics(network: TextGenerator, tokens: np.ndarray, text: str, start_token: int) -> dict[str, float]:
    """All figures of a text generator on a held-out text and its tokens, by name."""
    metrics = {"tokens": float(len(tokens)), "characters": float(len(text))}
    for name, reset_every in (("streamed", None), ("reset_every_256", 256), ("reset_every_64", 64)):
        nats = nats_per_token(network, tokens, start_token, reset_every)
        total = nats * len(tokens)
        metrics[f"{name}_nats_per_token"] = nats
        metrics[f"{name}_nats_per_character"] = total / len(text)
        metrics[f"{name}_bits_per_character"] = total / math.log(2) / len(text)
        metrics[f"{name}_bits_per_byte"] = total / math.log(2) / len(text.encode("utf-8"))
    return metrics
