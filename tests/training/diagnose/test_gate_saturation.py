"""Gates are counted where they stand: shut, open or between."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from tests.training.tiny import CYCLE, tiny_network  # noqa: E402
from training.data.text import TextStreams  # noqa: E402
from training.diagnose.gate_saturation import gate_saturation  # noqa: E402
from training.networks.text_generator import TextGeneratorSettings  # noqa: E402


def test_a_large_bias_holds_a_gate_open_or_shut() -> None:
    network = tiny_network(TextGeneratorSettings(cell="LSTM", hidden_size=16, embedding_size=8))
    bias = network.recurrence.rnn.bias_ih_l0
    assert isinstance(bias, torch.Tensor)
    with torch.no_grad():
        bias[:16], bias[16:32], bias[32:48], bias[48:] = -20, 20, 20, 0
    window = TextStreams(CYCLE, 4, 8).window(0, 0)
    gates = {gate.name: gate for gate in gate_saturation(network, window, network.recurrence.initial_state(4))}
    assert (gates["input"].low, gates["input"].high) == (1, 0)
    assert (gates["forget"].low, gates["forget"].high) == (0, 1)
    assert gates["candidate"].high == 1 and gates["candidate"].mean > 0.9
    assert gates["output"].saturated < 0.5 and len(gates["output"].values) == 4 * 8 * 16


def test_tanh_units_are_saturated_at_both_signs_and_not_at_zero() -> None:
    network = tiny_network(TextGeneratorSettings(cell="RNN", hidden_size=16, embedding_size=8))
    for weight in network.recurrence.rnn.parameters():
        torch.nn.init.zeros_(weight)
    window = TextStreams(CYCLE, 4, 8).window(0, 0)
    (gate,) = gate_saturation(network, window, network.recurrence.initial_state(4))
    assert (gate.name, gate.mean, gate.saturated) == ("hidden", 0, 0)
