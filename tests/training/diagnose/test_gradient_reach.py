"""The norm of ∂L_t/∂h_{t−k} is what the recurrent matrix says it must be, and what perturbing a state shows."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from training.bptt import Window  # noqa: E402
from training.diagnose.gradient_reach import Curve, gradient_reach, last_scored  # noqa: E402
from training.errors import TrainingError  # noqa: E402
from training.networks.recurrence import Cell, Recurrence, State  # noqa: E402


class Learner(nn.Module):
    """A recurrence whose outputs are summed."""

    def __init__(self, cell: Cell, layers: int = 1) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.recurrence = Recurrence(cell, 2, 4, layers).double()

    def forward(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        outputs, after = self.recurrence(inputs, state)
        return outputs.sum(-1), after


def mean_product(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs * targets).mean()


def window(steps: int, columns: int = 2) -> Window:
    torch.manual_seed(3)
    inputs = 0.3 * torch.randn(columns, steps, 2, dtype=torch.float64)
    return Window(inputs, torch.ones(columns, steps, dtype=torch.float64), torch.zeros(columns, dtype=torch.bool))


@pytest.mark.parametrize("factor", [0.5, 1.2])
def test_without_inputs_a_scaled_rotation_fades_or_grows_by_its_spectral_radius(factor: float) -> None:
    network = Learner("RNN")
    network.recurrence.rnn.load_state_dict(
        {name: value * factor for name, value in network.recurrence.rnn.state_dict().items()}  # orthogonal before
    )
    still = window(13)._replace(inputs=torch.zeros(2, 13, 2, dtype=torch.float64))
    reach = gradient_reach(network, mean_product, still, network.recurrence.initial_state(2))
    curve = reach.slowest
    np.testing.assert_allclose(curve.mean, factor ** np.arange(13), rtol=1e-6)
    assert curve.factor == pytest.approx(factor) and reach.longest_lag == 12
    assert curve.reach() == (7 if factor == 0.5 else None)  # 2⁻⁷ is the first below 1 %
    (matrix,) = reach.matrices
    assert matrix.spectral_radius == pytest.approx(factor) == matrix.largest_singular_value


@pytest.mark.parametrize("cell", ["RNN", "LSTM", "GRU"])
def test_norms_are_those_of_perturbed_states(cell: Cell) -> None:
    network, lag, given = Learner(cell), 4, window(6, columns=1)
    with torch.no_grad():
        _, before = network(given.inputs[:, : 6 - lag], network.recurrence.initial_state(1))

    def last_output(unit: int, by: float) -> float:
        hidden, *rest = (part.clone() for part in before)
        hidden[0, 0, unit] += by
        outputs, _ = network(given.inputs[:, 6 - lag :], (hidden, *rest))
        return float(outputs[0, -1].detach())

    gradient = [(last_output(unit, 1e-6) - last_output(unit, -1e-6)) / 2e-6 for unit in range(4)]
    reach = gradient_reach(network, mean_product, given, network.recurrence.initial_state(1))
    assert reach.curves[0].name == "hidden"
    assert reach.curves[0].norms[lag, 0] == pytest.approx(np.linalg.norm(gradient), rel=1e-6)


def test_each_column_counts_back_from_its_own_last_scored_step() -> None:
    network, given = Learner("RNN"), window(6)
    given.targets[1, 3:] = torch.nan
    assert last_scored(given.targets).tolist() == [5, 2]
    reach = gradient_reach(network, lambda o, t: (o[~t.isnan()]).mean(), given, network.recurrence.initial_state(2))
    norms = reach.curves[0].norms
    assert norms.shape == (6, 2) and np.isnan(norms[3:, 1]).all() and not np.isnan(norms[:3]).any()
    alone = gradient_reach(network, mean_product, given.columns(1, 2)._replace(
        inputs=given.inputs[1:, :3], targets=torch.ones(1, 3)), network.recurrence.initial_state(1))  # fmt: skip
    np.testing.assert_allclose(norms[:3, 1], alone.curves[0].norms[:, 0])


def test_layers_are_told_apart_top_first() -> None:
    network = Learner("LSTM", layers=2)
    reach = gradient_reach(network, mean_product, window(4), network.recurrence.initial_state(2))
    assert [curve.name for curve in reach.curves] == [
        "layer 2 hidden", "layer 2 cell", "layer 1 hidden", "layer 1 cell"]  # fmt: skip
    assert len(reach.matrices) == 8 and reach.matrices[0].name == "layer 2 input"


def test_windows_without_a_scored_step_are_refused() -> None:
    given = window(4)
    given.targets[:] = torch.nan
    network = Learner("RNN")
    with pytest.raises(TrainingError, match="expected windows with scored steps"):
        gradient_reach(network, mean_product, given, network.recurrence.initial_state(2))


def test_reach_is_the_lag_from_which_on_little_is_left() -> None:
    norms = np.array([[1.0], [0.005], [0.5], [0.01], [0.001]])
    assert Curve("hidden", norms).reach() == 3
    assert Curve("hidden", norms).reach(0.0001) is None
