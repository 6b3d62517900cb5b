"""Vanilla RNN, LSTM and GRU behind one interface: `forward(inputs, state) -> (outputs, state)`.

Shapes: B batch, T time, I inputs per step, H hidden, L layers. Every network of this package holds one
`Recurrence`, and `training.bptt` carries its state from window to window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.func import functional_call

Cell = Literal["RNN", "LSTM", "GRU"]
State = tuple[Tensor, ...]  # (hidden,) or, for the LSTM, (hidden, cell), each (L, B, H)

GATES: dict[Cell, int] = {"RNN": 1, "LSTM": 4, "GRU": 3}
KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
MODULES: dict[Cell, Callable[..., nn.RNNBase]] = {"RNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}


class Recurrence(nn.Module):
    """A stack of recurrent layers over (B, T, I), whose state is a value and not kept inside.

    Args:
        dropout: between layers, never along time (Zaremba, Sutskever and Vinyals, 2014).
        recurrent_dropout: share of hidden-to-hidden weights left out of one whole window (DropConnect as in
            Merity, Keskar and Socher, 2018); regularises the recurrence without disturbing its memory.
        residual: whether every layer but the first adds its input to its output (He et al., 2016; Kim, El-Khamy
            and Lee, 2017).
        learned_state: whether the initial state is learned (Gers, Schmidhuber and Cummins, 2000) or zeros.
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        layers: int = 1,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        residual: bool = False,
        learned_state: bool = False,
    ) -> None:
        super().__init__()
        if cell not in MODULES:
            raise ValueError(f"cell: expected one of {', '.join(get_args(Cell))}, got {cell!r}")
        self.cell: Cell = cell
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.layers = layers
        self.recurrent_dropout = recurrent_dropout
        self.residual = residual and layers > 1
        between = dropout if layers > 1 else 0.0
        self.rnn = MODULES[cell](input_size, hidden_size, num_layers=layers, batch_first=True, dropout=between)
        # Vectors, not matrices, so that weight decay leaves them alone.
        learned = (2 if cell == "LSTM" else 1) if learned_state else 0
        self.begin = nn.ParameterList(nn.Parameter(torch.zeros(layers * hidden_size)) for _ in range(learned))
        # In a tuple, so that their weights are not parameters: they run with those of `rnn`, one layer each.
        self._layer_of = tuple(
            MODULES[cell](size, hidden_size, batch_first=True) for size in (input_size, hidden_size) if self.residual
        )
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw weights afresh, gate by gate: inputs Glorot uniform, recurrence orthogonal, biases zero.

        Orthogonal recurrent matrices keep the length of a signal through time (Saxe, McClelland and Ganguli,
        2014). The LSTM's forget gate starts at bias 1, so that it remembers before it has learned to
        (Gers, Schmidhuber and Cummins, 2000; Jozefowicz, Zaremba and Sutskever, 2015).
        """
        for name, parameter in self.rnn.named_parameters():
            for gate in parameter.chunk(GATES[self.cell]):
                if name.startswith("weight_ih"):
                    nn.init.xavier_uniform_(gate)
                elif name.startswith("weight_hh"):
                    nn.init.orthogonal_(gate)
                else:
                    nn.init.zeros_(gate)
            if self.cell == "LSTM" and name.startswith("bias_ih"):
                # torch keeps two biases per gate and adds them, in the order input, forget, cell, output.
                parameter[self.hidden_size : 2 * self.hidden_size] = 1.0

    def initial_state(self, batch: int) -> State:
        """The state of `batch` sequences that have seen nothing: zeros, or what was learned."""
        if len(self.begin):
            return tuple(
                part.view(self.layers, 1, self.hidden_size).expand(-1, batch, -1).contiguous() for part in self.begin
            )
        zeros = next(self.rnn.parameters()).new_zeros(self.layers, batch, self.hidden_size)
        return (zeros, zeros.clone()) if self.cell == "LSTM" else (zeros,)

    def forward(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Outputs (B, T, H) for inputs (B, T, I), and the state after the last of them."""
        thinned = dict(self._thinned_weights()) if self.training and self.recurrent_dropout else {}
        if self.residual:
            return self._through_residual_layers(inputs, state, dict(self.rnn.named_parameters()) | thinned)
        return _run(self.rnn, inputs, state, thinned)

    def _through_residual_layers(
        self, inputs: Tensor, state: State, weights: dict[str, Tensor]
    ) -> tuple[Tensor, State]:
        after: list[State] = []
        for layer in range(self.layers):
            own = {f"{kind}_l0": weights[f"{kind}_l{layer}"] for kind in KINDS}
            carried = tuple(part[layer : layer + 1] for part in state)
            outputs, carried = _run(self._layer_of[min(layer, 1)], inputs, carried, own)
            after.append(carried)
            inputs = outputs if layer == 0 else outputs + inputs
            if layer < self.layers - 1:
                inputs = nn.functional.dropout(inputs, self.rnn.dropout, self.training)
        return inputs, tuple(torch.cat(parts) for parts in zip(*after, strict=True))

    def _thinned_weights(self) -> Iterator[tuple[str, Tensor]]:
        for name, parameter in self.rnn.named_parameters():
            if name.startswith("weight_hh"):
                yield name, nn.functional.dropout(parameter, self.recurrent_dropout)


def _run(module: nn.RNNBase, inputs: Tensor, state: State, weights: dict[str, Tensor]) -> tuple[Tensor, State]:
    """Outputs and state after inputs (B, T, I), with the weights in place of the module's own of these names."""
    carried = state if len(state) > 1 else state[0]
    outputs, after = functional_call(module, weights, (inputs, carried)) if weights else module(inputs, carried)
    return outputs, cast(State, after) if len(state) > 1 else (cast(Tensor, after),)
