"""State goes on from window to window; gradient reaches as far as it should and no further."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, dtype, nn  # noqa: E402

from training.bptt import Window, detached, start_anew, unroll  # noqa: E402
from training.networks.recurrence import State  # noqa: E402


class RunningSum(nn.Module):
    """A network whose answer is known: state += weight · input, output = state."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.0))

    def forward(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        sums = state[0][0] + (self.weight * inputs).cumsum(dim=1)  # (B, T)
        return sums, (sums[None, :, -1:],)


def total(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).sum()


def window(values: list[list[float]], resets: list[bool]) -> Window:
    inputs = torch.tensor(values)
    return Window(inputs, torch.zeros_like(inputs), torch.tensor(resets))


ZERO: State = (torch.zeros(1, 2, 1),)


def test_state_is_carried_to_the_next_window_and_no_gradient_with_it() -> None:
    network = RunningSum()
    _, state = unroll(network, total, window([[1, 2], [3, 4]], [True, True]), ZERO)
    assert state[0].flatten().tolist() == [3, 7] and not state[0].requires_grad
    loss, state = unroll(network, total, window([[1, 1], [1, 1]], [False, False]), state)
    assert loss.item() == (3 + 1) + (3 + 2) + (7 + 1) + (7 + 2)
    loss.backward()  # type: ignore[no-untyped-call]
    # Of the carried 3 and 7 the weight knows nothing: only the four ones of this window count.
    assert network.weight.grad is not None and network.weight.grad.item() == 1 + 2 + 1 + 2


def test_a_column_that_starts_anew_forgets_and_the_others_do_not() -> None:
    _, state = unroll(RunningSum(), total, window([[1, 2], [3, 4]], [True, True]), ZERO)
    _, state = unroll(RunningSum(), total, window([[1, 1], [1, 1]], [False, True]), state)
    assert state[0].flatten().tolist() == [5, 2]


def test_starting_anew_clears_even_what_is_not_a_number() -> None:
    broken: State = (torch.full((1, 2, 1), torch.nan),)
    assert start_anew(broken, torch.tensor([True, True]))[0].flatten().tolist() == [0, 0]


def test_a_column_that_starts_anew_starts_at_the_initial_state_and_teaches_it() -> None:
    initial = torch.full((1, 2, 1), 10.0, requires_grad=True)
    state: State = (torch.full((1, 2, 1), 5.0),)
    loss, _ = unroll(RunningSum(), total, window([[1, 1], [1, 1]], [False, True]), state, initial=(initial,))
    assert loss.item() == (6 + 7) + (11 + 12)
    loss.backward()  # type: ignore[no-untyped-call]
    assert initial.grad is not None and initial.grad.flatten().tolist() == [0, 2]


@pytest.mark.parametrize(
    "given, kept", [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)]
)
def test_a_carried_state_is_never_shorter_than_float32_nor_than_it_was(given: dtype, kept: dtype) -> None:
    (carried,) = detached((torch.full((1, 2, 1), 0.5, dtype=given, requires_grad=True),))
    assert carried.dtype == kept and carried.flatten().tolist() == [0.5, 0.5] and not carried.requires_grad


def test_with_a_shorter_stride_the_newest_steps_are_scored_and_gradient_reaches_the_whole_window() -> None:
    network = RunningSum()
    loss, state = unroll(network, total, window([[1, 2, 4, 8], [0, 0, 0, 0]], [True, True]), ZERO, stride=1)
    assert loss.item() == 15 and state[0].flatten().tolist() == [1, 0]
    loss.backward()  # type: ignore[no-untyped-call]
    assert network.weight.grad is not None and network.weight.grad.item() == 15
    # The next window begins one step on, with the state after that step.
    loss, _ = unroll(network, total, window([[2, 4, 8, 16], [0, 0, 0, 0]], [False, False]), state, stride=1)
    assert loss.item() == 31


def test_one_window_over_the_whole_sequence_is_full_back_propagation() -> None:
    torch.manual_seed(0)
    cell, values = nn.RNNCell(2, 3), torch.randn(1, 6, 2)

    def stepped(inputs: Tensor, state: State) -> tuple[Tensor, State]:
        hidden, outputs = state[0][0], []
        for step in inputs.unbind(dim=1):
            hidden = cell(step, hidden)
            outputs.append(hidden)
        return torch.stack(outputs, dim=1), (hidden[None],)

    rnn = nn.RNN(2, 3, batch_first=True)
    rnn.load_state_dict({f"{name}_l0": value for name, value in cell.state_dict().items()})

    def fused(inputs: Tensor, state: State) -> tuple[Tensor, State]:
        outputs, hidden = rnn(inputs, state[0])
        return outputs, (hidden,)

    whole = Window(values, torch.zeros(1, 6, 3), torch.tensor([True]))
    for network in (stepped, fused):
        loss, _ = unroll(network, total, whole, (torch.zeros(1, 1, 3),))
        loss.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(rnn.weight_hh_l0.grad, cell.weight_hh.grad)
    torch.testing.assert_close(rnn.weight_ih_l0.grad, cell.weight_ih.grad)
