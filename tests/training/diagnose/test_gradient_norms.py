"""Norms are told layer by layer, make up the whole, and say how often a limit shortens."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402

from tests.training.tiny import CYCLE, tiny_network  # noqa: E402
from training.data.text import TextStreams  # noqa: E402
from training.diagnose.gradient_norms import GradientNorms, layer_norms, layer_of, window_norms  # noqa: E402
from training.evaluation.text_metrics import next_token_loss  # noqa: E402


def test_parameters_belong_to_layers_of_the_recurrence_or_to_parts_of_the_network() -> None:
    assert layer_of("recurrence.rnn.weight_hh_l1") == "recurrence 2"
    assert layer_of("embedding.weight") == "embedding" and layer_of("head.bias") == "head"


def test_layers_make_up_the_whole_gradient() -> None:
    network = tiny_network().eval()
    streams = TextStreams(CYCLE, 4, 8)
    window = streams.window(0, 0)
    outputs, _ = network(window.inputs, network.recurrence.initial_state(4))
    next_token_loss(outputs, window.targets).backward()  # type: ignore[no-untyped-call]
    norms = layer_norms(network)
    assert norms.keys() == {"embedding", "recurrence 1", "output"}
    whole = torch.nn.utils.get_total_norm([weight.grad for weight in network.parameters() if weight.grad is not None])
    assert np.sqrt(sum(norm**2 for norm in norms.values())) == pytest.approx(float(whole))
    found = window_norms(
        network, next_token_loss, [window, streams.window(0, 1)], network.recurrence.initial_state(4), 0
    )
    assert found.total[0] == pytest.approx(float(whole)) and found.total[1] != found.total[0]


def test_what_is_longer_than_the_limit_is_clipped() -> None:
    norms = GradientNorms(np.arange(4), {}, np.array([0.5, 1.5, 2.5, 0.9]))
    assert (norms.clipped(1.0), norms.clipped(3.0), norms.clipped(0.0)) == (0.5, 0.0, None)
