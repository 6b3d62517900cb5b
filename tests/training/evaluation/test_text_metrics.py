"""The losses reported are those of a loop over single tokens, streamed and with resets."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.training.tiny import tiny_network  # noqa: E402
from training.evaluation import text_metrics as module  # noqa: E402
from training.evaluation.text_metrics import nats_per_token, quick_validation, text_metrics  # noqa: E402

TOKENS = np.array([3, 1, 4, 1, 5, 2, 6, 5, 3, 5, 7])
START = 2


def one_by_one(reset_every: int) -> float:
    network = tiny_network().eval()
    total, before = 0.0, START
    for position, token in enumerate(TOKENS):
        if position % reset_every == 0:
            state = network.recurrence.initial_state(1)
        with torch.no_grad():
            logits, state = network(torch.tensor([[before]]), state)
        total -= logits[0, 0].log_softmax(-1)[token].item()
        before = token
    return total / len(TOKENS)


@pytest.mark.parametrize("reset_every", [1, 3, 4, 11, 50])
def test_every_token_is_scored_once_with_the_state_reset_as_asked(
    monkeypatch: pytest.MonkeyPatch, reset_every: int
) -> None:
    monkeypatch.setattr(module, "WINDOWS_AT_ONCE", 2)
    monkeypatch.setattr(module, "TOKENS_AT_ONCE", 4)
    assert nats_per_token(tiny_network(), TOKENS, START, reset_every) == pytest.approx(one_by_one(reset_every))


def test_streamed_is_one_state_from_begin_to_end() -> None:
    assert nats_per_token(tiny_network(), TOKENS, START) == pytest.approx(one_by_one(len(TOKENS)))


def test_the_units_follow_from_one_another() -> None:
    text = "月亮" * 11  # 22 characters, 66 bytes
    metrics = text_metrics(tiny_network(), TOKENS, text, START)
    total = metrics["streamed_nats_per_token"] * 11
    assert metrics["streamed_nats_per_character"] == pytest.approx(total / 22)
    assert metrics["streamed_bits_per_character"] == pytest.approx(total / 22 / math.log(2))
    assert metrics["streamed_bits_per_byte"] == pytest.approx(total / 66 / math.log(2))
    assert metrics["reset_every_64_nats_per_token"] == pytest.approx(metrics["streamed_nats_per_token"])


def test_quick_validation_is_near_the_streamed_loss_of_a_long_text() -> None:
    tokens = np.resize(TOKENS, 64 * 40)
    network = tiny_network()
    assert quick_validation(network, tokens, START)() == pytest.approx(nats_per_token(network, tokens, START), abs=0.01)
