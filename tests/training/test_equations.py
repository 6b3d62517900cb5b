"""The formulas, taken one by one: what a gradient is made of, how far it reaches, how it fades, and that it teaches."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from training.equations import (
    CELLS,
    Array,
    Batch,
    Network,
    bptt,
    clip,
    cross_entropy,
    draw_weights,
    initial_state,
    learn,
    squared_error,
    truncated_bptt,
)

SEQUENCES, STEPS, INPUTS, HIDDEN, OUTPUTS = 2, 7, 2, 4, 3


def network_of(cell: str) -> Network:
    return Network(CELLS[cell], squared_error)


def drawn(cell: str, seed: int = 0) -> tuple[dict[str, Array], Batch, tuple[Array, ...]]:
    random = np.random.default_rng(seed)
    w = draw_weights(CELLS[cell], INPUTS, HIDDEN, OUTPUTS, random)
    inputs = random.standard_normal((SEQUENCES, STEPS, INPUTS))
    targets = random.standard_normal((SEQUENCES, STEPS, OUTPUTS))
    batch = Batch(inputs, targets, np.ones((SEQUENCES, STEPS), bool))
    return w, batch, initial_state(CELLS[cell], w, SEQUENCES)


def scored_at_last(batch: Batch) -> Batch:
    last = np.arange(batch.inputs.shape[1]) == batch.inputs.shape[1] - 1
    return batch._replace(scored=np.broadcast_to(last, batch.scored.shape))


def test_hidden_gradient_has_an_own_term_and_a_recurrent_one() -> None:
    w, batch, state = drawn("RNN")
    run = bptt(network_of("RNN"), w, batch, state)
    hidden = np.stack([h for (h,) in run.states[1:]], axis=1)
    d_y = (hidden @ w["W_hy"].T + w["b_y"] - batch.targets) / (SEQUENCES * STEPS)
    own = d_y @ w["W_hy"]
    np.testing.assert_allclose(run.d_hidden[:, -1], own[:, -1], rtol=1e-12)
    for t in range(STEPS - 1):
        recurrent = (run.d_hidden[:, t + 1] * (1 - hidden[:, t + 1] ** 2)) @ w["W_hh"]
        np.testing.assert_allclose(run.d_hidden[:, t], own[:, t] + recurrent, rtol=1e-12)
        assert np.abs(recurrent).max() > 1e-3


@pytest.mark.parametrize("cell", CELLS)
def test_without_the_recurrent_term_it_would_be_a_window_of_one_step(cell: str) -> None:
    w, batch, state = drawn(cell)
    network = network_of(cell)
    states = bptt(network, w, batch, state).states
    # Every step alone, the state before it a constant: no term comes from a next state.
    alone = [bptt(network, w, batch.steps(t, t + 1), states[t]).gradients for t in range(STEPS)]
    ones = [run.gradients for run in truncated_bptt(network, w, batch, state, window=1, stride=1)]
    full = bptt(network, w, batch, state).gradients
    for name in w:
        np.testing.assert_allclose(sum(one[name] for one in ones), sum(one[name] for one in alone), atol=1e-14)
    missing = np.abs(
        sum(one["W_hh" if cell == "RNN" else "W_hf" if cell == "LSTM" else "W_hz"] for one in ones) / STEPS
    )
    whole = np.abs(full["W_hh" if cell == "RNN" else "W_hf" if cell == "LSTM" else "W_hz"])
    assert np.abs(missing - whole).max() > 1e-3


@pytest.mark.parametrize("cell", CELLS)
def test_one_window_over_everything_is_full_back_propagation(cell: str) -> None:
    w, batch, state = drawn(cell)
    (run,) = truncated_bptt(network_of(cell), w, batch, state, window=STEPS, stride=STEPS)
    full = bptt(network_of(cell), w, batch, state)
    assert run.loss == full.loss and all(np.array_equal(run.gradients[name], full.gradients[name]) for name in w)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_windows_that_all_reach_back_to_the_begin_add_up_to_the_full_gradient(cell: str, stride: int) -> None:
    w, batch, state = drawn(cell)
    full = bptt(network_of(cell), w, batch, state)
    runs = list(truncated_bptt(network_of(cell), w, batch, state, window=STEPS, stride=stride))
    shares = [min(stride, STEPS - stride * index) / STEPS for index in range(len(runs))]
    for name in w:
        total = np.sum([share * run.gradients[name] for share, run in zip(shares, runs, strict=True)], axis=0)
        np.testing.assert_allclose(total, full.gradients[name], atol=1e-14)


@pytest.mark.parametrize("window, stride", [(1, 1), (3, 1), (3, 2), (3, 3), (5, 2), (6, 4), (7, 7), (20, 3)])
def test_every_step_is_scored_once_whatever_the_windows(window: int, stride: int) -> None:
    w, batch, state = drawn("LSTM")
    full = bptt(network_of("LSTM"), w, batch, state)
    runs = list(truncated_bptt(network_of("LSTM"), w, batch, state, window, stride))
    shares = [min(stride, STEPS - stride * index) / STEPS for index in range(len(runs))]
    assert sum(share * run.loss for share, run in zip(shares, runs, strict=True)) == pytest.approx(full.loss, rel=1e-12)
    assert max(len(run.states) - 1 for run in runs) == min(window, STEPS)
    for after, expected in zip(runs[-1].states[-1], full.states[-1], strict=True):
        np.testing.assert_allclose(after, expected, rtol=1e-12)  # the state went on from window to window


def test_a_window_reaches_back_to_its_first_step_and_no_farther() -> None:
    w, batch, state = drawn("RNN")
    *earlier, last = truncated_bptt(network_of("RNN"), w, scored_at_last(batch), state, window=3, stride=1)
    assert not any(gradient.any() for run in earlier for gradient in run.gradients.values())
    whole = bptt(network_of("RNN"), w, scored_at_last(batch), state)
    np.testing.assert_allclose(last.d_inputs, whole.d_inputs[:, -3:], rtol=1e-12)
    assert whole.d_inputs[:, :-3].any(axis=(1, 2)).all()  # which the truncated gradient knows nothing of


def test_a_sequence_that_ends_early_teaches_what_it_would_alone() -> None:
    w, batch, state = drawn("GRU")
    network = network_of("GRU")
    scored = np.arange(STEPS) < np.array([[STEPS], [4]])
    padded = bptt(network, w, batch._replace(scored=scored), state)
    alone = [
        bptt(network, w, Batch(inputs[None, :stop], targets[None, :stop], np.ones((1, stop), bool)), (state[0][:1],))
        for inputs, targets, stop in zip(batch.inputs, batch.targets, (STEPS, 4), strict=True)
    ]
    for name in w:
        expected = (STEPS * alone[0].gradients[name] + 4 * alone[1].gradients[name]) / (STEPS + 4)
        np.testing.assert_allclose(padded.gradients[name], expected, atol=1e-14)


def test_a_stride_above_the_window_is_refused() -> None:
    w, batch, state = drawn("RNN")
    with pytest.raises(ValueError, match="expected 1 to the window of 2, got 3"):
        next(truncated_bptt(network_of("RNN"), w, batch, state, window=2, stride=3))


@pytest.mark.parametrize("radius", [0.5, 1.0, 1.5])
def test_where_tanh_is_straight_a_gradient_changes_by_the_radius_at_each_step(radius: float) -> None:
    w, batch, state = drawn("RNN")
    w["W_hh"] *= radius  # times orthogonal: all singular values are the radius
    quiet = scored_at_last(batch._replace(inputs=np.zeros_like(batch.inputs)))
    norms = np.linalg.norm(bptt(network_of("RNN"), w, quiet, state).d_hidden, axis=(0, 2))
    np.testing.assert_allclose(norms[:-1] / norms[1:], radius, rtol=1e-12)


def test_through_an_open_forget_gate_a_gradient_does_not_fade() -> None:
    w, batch, state = drawn("LSTM")
    for name in w:
        if name[-1] in "ifgo" and name != "W_hy":
            w[name] *= 0  # no gate looks at h: only the cell state goes on
    w["b_f"] += 20
    w["W_xg"] += 1
    inputs, targets, scored = (np.concatenate([part] * 30, axis=1) for part in batch)
    long = scored_at_last(Batch(0.01 * (inputs - inputs.mean(axis=1, keepdims=True)), targets, scored))
    d_inputs = np.linalg.norm(bptt(network_of("LSTM"), w, long, state).d_inputs, axis=(0, 2))
    repeated = d_inputs[: 7 * 30 - 7].reshape(29, 7)  # the same inputs, again and again
    assert repeated[0].all()
    np.testing.assert_allclose(repeated / repeated[0], 1, rtol=1e-6)


def test_clipping_shortens_what_is_too_long_and_leaves_the_rest() -> None:
    gradients = {"W_xh": np.array([[3.0]]), "b_h": np.array([4.0])}
    assert clip(gradients, 10) == 5 and gradients["b_h"][0] == 4
    assert clip(gradients, 1) == 5
    assert gradients["W_xh"][0, 0] == pytest.approx(0.6, rel=1e-6)
    assert gradients["b_h"][0] == pytest.approx(0.8, rel=1e-6)


def test_cross_entropy_of_equal_logits_is_the_logarithm_of_the_classes_and_nothing_overflows() -> None:
    losses, d_outputs = cross_entropy(np.array([[[0.0] * 4, [1e4, 0, 0, 0]]]), np.array([[1, 0]]))
    np.testing.assert_allclose(losses, np.array([[np.log(4), 0]]), atol=1e-12)
    np.testing.assert_allclose(d_outputs, np.array([[[0.25, -0.75, 0.25, 0.25], [0, 0, 0, 0]]]), atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_the_loop_learns_to_tell_which_symbol_came_first(cell: str) -> None:
    random = np.random.default_rng(0)
    network = Network(CELLS[cell], cross_entropy)
    w = draw_weights(network.cell, 2, 8, 2, random)

    def draw() -> Batch:
        symbols = random.integers(2, size=(16, 4))
        return scored_at_last(Batch(np.eye(2)[symbols], np.repeat(symbols[:, :1], 4, axis=1), np.ones((16, 4), bool)))

    losses = [run.loss for run, _ in learn(network, w, (draw() for _ in range(500)), 4, 4, rate=0.5, limit=1.0)]
    assert losses[0] > 0.5 and np.mean(losses[-20:]) < 0.02


def test_numpy_is_all_that_it_needs() -> None:
    code = "import sys, training.equations; assert not {'torch', 'onnx', 'service'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
