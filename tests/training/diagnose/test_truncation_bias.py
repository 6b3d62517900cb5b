"""Truncation turns and shortens the gradient of a network that remembers, and changes nothing for one that does not."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from tests.training.tiny import CYCLE, tiny_network  # noqa: E402
from training.bptt import Window  # noqa: E402
from training.data.text import TextStreams  # noqa: E402
from training.diagnose.truncation_bias import TruncatedGradient, TruncationBias, truncation_bias  # noqa: E402
from training.evaluation.text_metrics import next_token_loss  # noqa: E402
from training.networks.classifier import classification_loss  # noqa: E402
from training.networks.text_generator import TextGenerator, TextGeneratorSettings  # noqa: E402


def network_and_window() -> tuple[TextGenerator, Window]:
    network = tiny_network(TextGeneratorSettings(cell="RNN", hidden_size=16, embedding_size=8, dropout=0.1))
    return network, TextStreams(CYCLE, 4, 32).window(0, 0)


def test_longer_windows_come_nearer_to_the_full_gradient() -> None:
    network, window = network_and_window()
    bias = truncation_bias(network, next_token_loss, window, network.recurrence.initial_state(4), [1, 2, 4, 8, 16])
    cosines = [found.cosine for found in bias.by_window]
    assert bias.steps == 32 and [found.window for found in bias.by_window] == [1, 2, 4, 8, 16]
    assert cosines == sorted(cosines) and cosines[0] < 0.99 < cosines[-1] < 1
    assert all(weight.grad is None for weight in network.parameters())


def test_the_loss_of_a_last_step_goes_back_over_the_whole_window_however_long_its_sequence_is() -> None:
    network, window = network_and_window()
    lasts = (8, 8, 7, 5)  # 9, 9, 8 and 6 steps: windows of 2 and 4 side by side would leave 1, 1, 2 or 4 and 2 of them
    targets = torch.full((4, 9), torch.nan)
    for column, last in enumerate(lasts):
        targets[column, last] = float(window.targets[column, last])
    short = Window(window.inputs[:, :9], targets, window.resets)
    state = network.recurrence.initial_state(4)
    bias = truncation_bias(network, classification_loss, short, state, [1, 2, 3, 4])
    cosines = [found.cosine for found in bias.by_window]
    assert cosines == sorted(set(cosines)) and cosines[0] < 0.99

    def by_hand(length: int) -> Any:
        """The gradient where each sequence is read without one until `length` steps before its end."""
        network.zero_grad()
        for column, last in enumerate(lasts):
            start = max(last + 1 - length, 0)
            tokens, state = short.inputs[column : column + 1], network.recurrence.initial_state(1)
            if start:
                with torch.no_grad():
                    _, state = network(tokens[:, :start], state)
            logits, _ = network(tokens[:, start : last + 1], state)
            loss = classification_loss(logits[:, -1:], targets[column, last].reshape(1, 1)) / 4
            loss.backward()  # type: ignore[no-untyped-call]
        gradients = [weight.grad for weight in network.recurrence.parameters() if weight.grad is not None]
        return torch.cat([gradient.flatten() for gradient in gradients]).double()

    network.eval()
    full = by_hand(9)
    for found in bias.by_window:
        cosine = torch.nn.functional.cosine_similarity(by_hand(found.window), full, dim=0).item()
        assert found.cosine == pytest.approx(cosine, abs=1e-5)


def test_a_network_without_memory_loses_nothing() -> None:
    network, window = network_and_window()
    for name, weight in network.recurrence.rnn.named_parameters():
        if name.startswith("weight_hh"):
            torch.nn.init.zeros_(weight)
    bias = truncation_bias(network, next_token_loss, window, network.recurrence.initial_state(4), [4])
    assert bias.by_window[0].cosine == pytest.approx(1, abs=1e-6)
    assert bias.by_window[0].norm_ratio == pytest.approx(1, abs=1e-5)


def test_windows_that_do_not_fit_twice_are_left_out() -> None:
    network, window = network_and_window()
    bias = truncation_bias(network, next_token_loss, window, network.recurrence.initial_state(4), [0, 16, 17, 64])
    assert [found.window for found in bias.by_window] == [16]
    assert bias.at(16) == bias.by_window[0] and bias.at(17) is None


def test_enough_is_the_length_from_which_on_all_are_near() -> None:
    cosines = {1: 0.995, 2: 0.9, 4: 0.99, 8: 0.999}
    bias = TruncationBias(16, tuple(TruncatedGradient(window, cosine, 1.0) for window, cosine in cosines.items()))
    assert bias.enough(0.99) == 4 and bias.enough(0.9999) is None
