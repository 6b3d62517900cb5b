"""Back-propagation through time, written out: vanilla RNN, LSTM and GRU, forward and backward, in plain NumPy.

A text to read from top to bottom, and the reference that the fast path (`training.bptt`, on PyTorch) is checked
against by `training.gradient_check`. `python -m training equations` runs those checks and the loop at the end.

**The network.** At every step a cell takes an input and the state it left one step before, and a readout looks at
its hidden state. For the vanilla RNN (Elman, 1990), with f = tanh and h_0 = 0:

    a_t = W_xh x_t + W_hh h_{t-1} + b_h        pre-activation
    h_t = f(a_t)                               hidden state
    y_t = W_hy h_t + b_y                       output
    L   = (1/N) Σ_t ℓ(y_t, target_t)           loss, over the N steps that are scored: all, or only the last

**Unrolled** through time it is a deep network with one layer per step, all with the same weights:

          ℓ_1       ℓ_2       ℓ_3              forward:  left to right, keeping what each step computed
           ▲         ▲         ▲
           y_1       y_2       y_3             backward: right to left, by the chain rule
           ▲         ▲         ▲
    h_0 ─▶ h_1 ────▶ h_2 ────▶ h_3
           ▲         ▲         ▲
           x_1       x_2       x_3

**Backward.** h_t acts on the loss in two ways, one for each arrow that leaves it: through its own output y_t, and
through a_{t+1}, which holds W_hh h_t, and so all that comes later. The chain rule adds them up, from the last step,
which has no second term, to the first:

    ∂L/∂h_t = W_hyᵀ ∂L/∂y_t  +  W_hhᵀ (∂L/∂h_{t+1} ⊙ f'(a_{t+1}))        for tanh: f'(a) = 1 − tanh²(a) = 1 − h²

The second, recurrent term *is* back-propagation through time. Summaries that leave it out are wrong: they give the
gradient of a network that takes h_{t-1} for a constant and so never learns to remember (the same as truncation to a
window of one step, below). It starts from the loss, 0 where a step is not scored, and leaves at every step a part of
the gradient of the weights, which are the same in all:

    ∂L/∂y_t  = (1/N) (y_t − target_t)                in classification (1/N) (softmax(y_t) − onehot(target_t))
    ∂L/∂W_hy = Σ_t (∂L/∂y_t) h_tᵀ                    ∂L/∂b_y  = Σ_t ∂L/∂y_t
    ∂L/∂W_hh = Σ_t (∂L/∂h_t ⊙ f'(a_t)) h_{t-1}ᵀ      ∂L/∂b_h  = Σ_t ∂L/∂h_t ⊙ f'(a_t)
    ∂L/∂W_xh = Σ_t (∂L/∂h_t ⊙ f'(a_t)) x_tᵀ

**Vanishing and exploding.** Followed back over k steps, the recurrent term is a product of k matrices, transposed:

    ∂h_t/∂h_{t-k} = J_t J_{t-1} … J_{t-k+1},        J_j = diag(f'(a_j)) W_hh,        ‖J_j‖ ≤ max f'(a_j) · ‖W_hh‖

So it shrinks or grows like a power of k. Since f' ≤ 1, it must vanish where ‖W_hh‖, the largest singular value, is
below 1, and can explode only where that is above 1 (Hochreiter, 1991; Bengio, Simard and Frasconi, 1994; Pascanu,
Mikolov and Bengio, 2013). Gates answer the first, see `LSTM`; `clip` answers the second.

**In code.** Axis 0 of every array is the batch: row b of `x` is the column x_t of sequence b, so `x @ W.T` is W x_t,
and `d_a.T @ x` is (∂L/∂a_t) x_tᵀ summed over the batch. `d_name` is ∂L/∂name and has the shape of `name`.
Shapes: B batch, T time, I inputs of a step, H hidden, O outputs of a step (numbers, or one logit per class).

The procedure is of Rumelhart, Hinton and Williams (1986) and Werbos (1990), truncation of Williams and Peng (1990).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Weights = dict[str, Array]  # by the names of the formulas; gradients have the same names and shapes
State = tuple[Array, ...]  # (h,) or, for the LSTM, (h, c), each (B, H)
Tape = tuple[Array, ...]  # what one step keeps for its way back
Targets = NDArray[Any]  # (B, T, O) numbers or (B, T) class numbers
Loss = Callable[[Array, Targets], tuple[Array, Array]]  # outputs, targets -> ℓ (B, T), ∂ℓ/∂y (B, T, O)


def product_back(w: Weights, name: str, v: Array, d_product: Array, gradients: Weights) -> Array:
    """∂L/∂v = Wᵀ d of a product W v; adds ∂L/∂W = d vᵀ to its sum over all steps."""
    gradients[name] += d_product.T @ v
    return d_product @ w[name]


def pre_activation(w: Weights, gate: str, x: Array, h: Array) -> Array:
    """a = W_x x_t + W_h h_{t-1} + b of one gate: of "h", W_xh x_t + W_hh h_{t-1} + b_h."""
    return x @ w[f"W_x{gate}"].T + h @ w[f"W_h{gate}"].T + w[f"b_{gate}"]


def pre_activation_back(
    w: Weights, gate: str, x: Array, h: Array, d_a: Array, gradients: Weights
) -> tuple[Array, Array]:
    """∂L/∂x_t = W_xᵀ ∂L/∂a and ∂L/∂h_{t-1} = W_hᵀ ∂L/∂a; adds this step's part to the gradients of W_x, W_h and b."""
    gradients[f"b_{gate}"] += d_a.sum(axis=0)
    return product_back(w, f"W_x{gate}", x, d_a, gradients), product_back(w, f"W_h{gate}", h, d_a, gradients)


def sigmoid(a: Array) -> Array:
    """σ(a) = 1 / (1 + e^{-a}), whose slope is σ (1 − σ); written with tanh, which never overflows."""
    return 0.5 * (1 + np.tanh(0.5 * a))


class Cell(Protocol):
    """One step forward, and the same step backward."""

    weights: Sequence[str]  # names: W_x… (H, I), W_h… (H, H), b_… (H,)
    parts: int  # arrays in the state

    def step(self, w: Weights, x: Array, state: State) -> tuple[State, Tape]:
        """The state after input x (B, I), and what `step_back` needs."""

    def step_back(self, w: Weights, tape: Tape, d_state: State, gradients: Weights) -> tuple[Array, State]:
        """∂L/∂x_t and ∂L/∂state_{t-1}, from ∂L/∂h_t, both terms of it; adds the step's part to `gradients`."""


class VanillaRNN(Cell):
    """h_t = tanh(W_xh x_t + W_hh h_{t-1} + b_h)."""

    weights = ("W_xh", "W_hh", "b_h")
    parts = 1

    def step(self, w: Weights, x: Array, state: State) -> tuple[State, Tape]:
        (h_before,) = state
        h = np.tanh(pre_activation(w, "h", x, h_before))
        return (h,), (x, h_before, h)

    def step_back(self, w: Weights, tape: Tape, d_state: State, gradients: Weights) -> tuple[Array, State]:
        x, h_before, h = tape
        (d_h,) = d_state
        d_a = d_h * (1 - h**2)  # ∂L/∂a_t = ∂L/∂h_t ⊙ f'(a_t)
        d_x, d_h_before = pre_activation_back(w, "h", x, h_before, d_a, gradients)
        return d_x, (d_h_before,)  # W_hhᵀ (∂L/∂h_t ⊙ f'(a_t)): the recurrent term of ∂L/∂h_{t-1}


class LSTM(Cell):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997; forget gate of Gers, Schmidhuber and Cummins, 2000).

        i_t = σ(W_xi x_t + W_hi h_{t-1} + b_i)          input gate:  what is written
        f_t = σ(W_xf x_t + W_hf h_{t-1} + b_f)          forget gate: what is kept
        g_t = tanh(W_xg x_t + W_hg h_{t-1} + b_g)       candidate
        o_t = σ(W_xo x_t + W_ho h_{t-1} + b_o)          output gate: what is shown
        c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t                 cell state
        h_t = o_t ⊙ tanh(c_t)

    The cell state goes through a sum and no matrix: along it the gradient is multiplied by f_t alone at each step,
    ∂c_t/∂c_{t-1} = diag(f_t) (and terms by way of h_{t-1}). Where f stays at 1 it neither vanishes nor explodes.
    """

    weights = tuple(f"{kind}{gate}" for gate in "ifgo" for kind in ("W_x", "W_h", "b_"))
    parts = 2

    def step(self, w: Weights, x: Array, state: State) -> tuple[State, Tape]:
        h_before, c_before = state
        i = sigmoid(pre_activation(w, "i", x, h_before))
        f = sigmoid(pre_activation(w, "f", x, h_before))
        g = np.tanh(pre_activation(w, "g", x, h_before))
        o = sigmoid(pre_activation(w, "o", x, h_before))
        c = f * c_before + i * g
        h = o * np.tanh(c)
        return (h, c), (x, h_before, c_before, i, f, g, o, c)

    def step_back(self, w: Weights, tape: Tape, d_state: State, gradients: Weights) -> tuple[Array, State]:
        x, h_before, c_before, i, f, g, o, c = tape
        d_h, d_c = d_state
        d_c = d_c + d_h * o * (1 - np.tanh(c) ** 2)  # c_t acts through c_{t+1}, which came in, and through h_t
        d_a = {
            "i": d_c * g * i * (1 - i),
            "f": d_c * c_before * f * (1 - f),
            "g": d_c * i * (1 - g**2),
            "o": d_h * np.tanh(c) * o * (1 - o),
        }
        d_x, d_h_before = np.zeros_like(x), np.zeros_like(h_before)
        for gate, d in d_a.items():  # all four saw x_t and h_{t-1}
            from_x, from_h = pre_activation_back(w, gate, x, h_before, d, gradients)
            d_x, d_h_before = d_x + from_x, d_h_before + from_h
        return d_x, (d_h_before, d_c * f)


class GRU(Cell):
    """Gated recurrent unit (Cho and others, 2014), the reset gate applied as in cuDNN, PyTorch and our ONNX graphs.

        r_t = σ(W_xr x_t + W_hr h_{t-1} + b_r)                           reset gate
        z_t = σ(W_xz x_t + W_hz h_{t-1} + b_z)                           update gate: what is kept
        n_t = tanh(W_xn x_t + b_n + r_t ⊙ (W_hn h_{t-1} + b_hn))         candidate
        h_t = (1 − z_t) ⊙ n_t + z_t ⊙ h_{t-1}

    The last sum is to h what the LSTM's is to c: ∂h_t/∂h_{t-1} = diag(z_t) and terms by way of the gates.
    (The paper resets before the product, W_hn (r_t ⊙ h_{t-1}); others write z_t and 1 − z_t the other way round.)
    """

    weights = (*(f"{kind}{gate}" for gate in "rzn" for kind in ("W_x", "W_h", "b_")), "b_hn")
    parts = 1

    def step(self, w: Weights, x: Array, state: State) -> tuple[State, Tape]:
        (h_before,) = state
        r = sigmoid(pre_activation(w, "r", x, h_before))
        z = sigmoid(pre_activation(w, "z", x, h_before))
        m = h_before @ w["W_hn"].T + w["b_hn"]
        n = np.tanh(x @ w["W_xn"].T + w["b_n"] + r * m)
        h = (1 - z) * n + z * h_before
        return (h,), (x, h_before, r, z, m, n)

    def step_back(self, w: Weights, tape: Tape, d_state: State, gradients: Weights) -> tuple[Array, State]:
        x, h_before, r, z, m, n = tape
        (d_h,) = d_state
        d_an = d_h * (1 - z) * (1 - n**2)
        d_m = d_an * r
        gradients["b_n"] += d_an.sum(axis=0)
        gradients["b_hn"] += d_m.sum(axis=0)
        d_x_n = product_back(w, "W_xn", x, d_an, gradients)
        d_h_n = product_back(w, "W_hn", h_before, d_m, gradients)
        d_x_r, d_h_r = pre_activation_back(w, "r", x, h_before, d_an * m * r * (1 - r), gradients)
        d_x_z, d_h_z = pre_activation_back(w, "z", x, h_before, d_h * (h_before - n) * z * (1 - z), gradients)
        return d_x_n + d_x_r + d_x_z, (d_h * z + d_h_n + d_h_r + d_h_z,)


CELLS: dict[str, Cell] = {"RNN": VanillaRNN(), "LSTM": LSTM(), "GRU": GRU()}


def squared_error(outputs: Array, targets: Targets) -> tuple[Array, Array]:
    """Regression: ℓ = ½ ‖y − target‖² and ∂ℓ/∂y = y − target, for targets (B, T, O)."""
    difference = outputs - targets
    return 0.5 * (difference**2).sum(axis=-1), difference


def cross_entropy(outputs: Array, targets: Targets) -> tuple[Array, Array]:
    """Classification: ℓ = −log p[target], p = softmax(y), and ∂ℓ/∂y = p − onehot(target), for class numbers (B, T)."""
    shifted = outputs - outputs.max(axis=-1, keepdims=True)  # softmax stays the same, and exp cannot overflow
    log_p = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    onehot = np.eye(outputs.shape[-1])[targets]  # (B, T, O)
    return -(onehot * log_p).sum(axis=-1), np.exp(log_p) - onehot


class Network(NamedTuple):
    """A cell, a linear readout, a loss. The weights are kept beside it."""

    cell: Cell
    loss: Loss


class Batch(NamedTuple):
    """B sequences of T steps, and which of their steps are scored: every one, the last one, any others."""

    inputs: Array  # (B, T, I)
    targets: Targets
    scored: NDArray[np.bool_]  # (B, T)

    def steps(self, start: int, stop: int) -> Batch:
        """The steps `start` to `stop` alone."""
        return Batch(self.inputs[:, start:stop], self.targets[:, start:stop], self.scored[:, start:stop])


class Unrolled(NamedTuple):
    """What one pass forward and backward finds."""

    loss: float  # mean over the scored steps
    gradients: Weights
    states: list[State]  # before the first step, and after each
    d_hidden: Array  # (B, T, H): ∂L/∂h_t, both terms
    d_inputs: Array  # (B, T, I): for a layer below, the first term of its own ∂L/∂h_t; stacking needs nothing more


def bptt(network: Network, w: Weights, batch: Batch, state: State) -> Unrolled:
    """Loss and gradients of whole sequences, full back-propagation through time; `state` counts as a constant."""
    steps = range(batch.inputs.shape[1])
    states, tapes = [state], []
    for t in steps:
        state, tape = network.cell.step(w, batch.inputs[:, t], state)
        states.append(state)
        tapes.append(tape)
    hidden = np.stack([h for h, *_ in states[1:]], axis=1)  # (B, T, H)
    losses, d_outputs = network.loss(hidden @ w["W_hy"].T + w["b_y"], batch.targets)
    share = batch.scored / max(batch.scored.sum(), 1)  # (B, T): 1/N where a step is scored, 0 elsewhere
    d_y = d_outputs * share[:, :, None]  # ∂L/∂y_t

    gradients = {name: np.zeros_like(weight) for name, weight in w.items()}
    d_hidden, d_inputs = np.zeros_like(hidden), np.zeros_like(batch.inputs)
    d_state = tuple(np.zeros_like(part) for part in state)  # nothing comes after the last step
    for t in reversed(steps):
        gradients["b_y"] += d_y[:, t].sum(axis=0)
        through_output = product_back(w, "W_hy", hidden[:, t], d_y[:, t], gradients)
        through_next_state, *other_parts = d_state
        d_hidden[:, t] = through_output + through_next_state
        d_inputs[:, t], d_state = network.cell.step_back(w, tapes[t], (d_hidden[:, t], *other_parts), gradients)
    # What is left in d_state belongs to the state before the first step: leaving it there is all that truncation is.
    return Unrolled(float((losses * share).sum()), gradients, states, d_hidden, d_inputs)


def truncated_bptt(
    network: Network, w: Weights, batch: Batch, state: State, window: int, stride: int
) -> Iterator[Unrolled]:
    """One window after another: every `stride` steps, the loss of those steps sent back over the last `window`.

        │◀──────── window ────────▶│                    the state goes on from window to window,
                   │◀──────── window ────────▶│         the gradient stays inside one
                                   │◀ stride ▶│ scored

    This is BPTT(h; h′) of Williams and Peng (1990), where window is h and stride is h′; Sutskever (2013) calls them
    k2 and k1. At window = stride = T it is full BPTT. Otherwise a gradient reaches back at least window − stride and
    at most window − 1 steps, and what would come from farther is missing: a bias, not noise. Time and memory of an
    update grow with `window`, not with T. Weights may be changed between windows; a state carried on is then that
    of older weights, as in `training.bptt`.
    """
    if not 1 <= stride <= window:
        raise ValueError(f"stride: expected 1 to the window of {window}, got {stride}")
    start, done, length = 0, 0, batch.inputs.shape[1]
    while done < length:
        stop = min(done + stride, length)
        piece = batch.steps(start, stop)
        newest = np.arange(start, stop) >= done
        unrolled = bptt(network, w, piece._replace(scored=piece.scored & newest), state)
        yield unrolled
        following = max(0, min(stop + stride, length) - window)  # where the next window begins
        state, start, done = unrolled.states[following - start], following, stop


def clip(gradients: Weights, limit: float) -> float:
    """The norm of all gradients as one vector; where it is above `limit`, they are shortened to that, in place.

    The direction stays (Pascanu, Mikolov and Bengio, 2013). 1e-6 is PyTorch's guard against a division by zero.
    """
    norm = float(np.sqrt(sum((gradient**2).sum() for gradient in gradients.values())))
    for gradient in gradients.values():
        gradient *= min(1.0, limit / (norm + 1e-6))
    return norm


def draw_weights(cell: Cell, inputs: int, hidden: int, outputs: int, random: np.random.Generator) -> Weights:
    """Weights to begin with: recurrent ones orthogonal, so that ‖W_hh‖ = 1, biases zero but for the forget gate's 1."""

    def draw(name: str) -> Array:
        if name.startswith("b_"):
            return np.full(hidden, 1.0 if name == "b_f" else 0.0)
        if name.startswith("W_h"):
            orthogonal: Array = np.linalg.qr(random.standard_normal((hidden, hidden))).Q
            return orthogonal
        return random.normal(scale=inputs**-0.5, size=(hidden, inputs))

    readout = {"W_hy": random.normal(scale=hidden**-0.5, size=(outputs, hidden)), "b_y": np.zeros(outputs)}
    return {name: draw(name) for name in cell.weights} | readout


def initial_state(cell: Cell, w: Weights, sequences: int) -> State:
    """The state of sequences that have seen nothing: zeros."""
    return tuple(np.zeros((sequences, w["W_hy"].shape[1])) for _ in range(cell.parts))


def learn(
    network: Network, w: Weights, batches: Iterable[Batch], window: int, stride: int, rate: float, limit: float
) -> Iterator[tuple[Unrolled, float]]:
    """Stochastic gradient descent, changing `w` in place: of every update its pass, and its norm before clipping."""
    for batch in batches:
        state = initial_state(network.cell, w, len(batch.inputs))
        for unrolled in truncated_bptt(network, w, batch, state, window, stride):
            norm = clip(unrolled.gradients, limit)
            for name, gradient in unrolled.gradients.items():
                w[name] -= rate * gradient
            yield unrolled, norm
