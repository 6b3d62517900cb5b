"""Exactness of exported graphs: whole = in pieces = step by step, and in any batch = alone, bit for bit.

`forecaster_parity` and `text_parity` add what only they can know: agreement with PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract.manifest import GraphName
from training.export.runner import ExportedGraphs, Named

BATCHES = (1, 3, 8)
LENGTHS = (1, 2, 17, 64)
TOLERANCE = 1e-4


class ParityError(Exception):
    """An export that must not be published: says which check failed and by how much."""


def check_exactness(graphs: ExportedGraphs, graph: GraphName, inputs: Named, timed: Sequence[str]) -> Named:
    """Outputs of one run, after seeing the same bits from every cut in time and from every smaller batch.

    Args:
        inputs: arrays by name, among them `state`; all have the batch as axis 0.
        timed: the names of those whose axis 1 is time.

    Raises:
        ParityError: some cut or batch gives other bits.
    """
    whole = graphs.run(graph, inputs)
    length = inputs[timed[0]].shape[1]
    for pieces in _cuts(length):
        name = f"{graph}: {length} steps in pieces of {sorted(set(pieces))} against the whole"
        require_same_bits(name, run_in_pieces(graphs, graph, inputs, timed, pieces), whole)
    batch = len(inputs["state"])
    for size in (1, 2, 3):
        for start in range(0, batch if batch > size else 0, size):
            rows = slice(start, start + size)
            alone = graphs.run(graph, {key: array[rows] for key, array in inputs.items()})
            name = f"{graph}: rows {start} to {min(start + size, batch) - 1} against a batch of {batch}"
            require_same_bits(name, alone, {key: array[rows] for key, array in whole.items()})
    return whole


def run_in_pieces(
    graphs: ExportedGraphs, graph: GraphName, inputs: Named, timed: Sequence[str], pieces: Sequence[int]
) -> Named:
    """What the graph gives when it takes its timed inputs in pieces of these lengths, one after another."""
    state, start, given = inputs["state"], 0, []
    for length in pieces:
        piece = {key: array[:, start : start + length] if key in timed else array for key, array in inputs.items()}
        given.append(graphs.run(graph, {**piece, "state": state}))
        state = given[-1].pop("next_state")
        start += length
    outputs = {key: np.concatenate([outputs[key] for outputs in given], axis=1) for key in given[0]}
    return {**outputs, "next_state": state}


def require_same_bits(name: str, got: Mapping[str, NDArray[Any]], expected: Mapping[str, NDArray[Any]]) -> None:
    """Compare arrays by their bytes, so that a missing value equals a missing value.

    Raises:
        ParityError: naming the check, the array, how many values differ and by how much.
    """
    for key, array in expected.items():
        if array.tobytes() != got[key].tobytes():
            differing = ~((array == got[key]) | ((array != array) & (got[key] != got[key])))
            largest = np.max(np.abs(array - got[key])[differing], initial=0)
            raise ParityError(
                f"{name}: {key} differs in {differing.sum()} of {array.size} values, by up to {largest:.3g}"
            )


def require_close(name: str, error: NDArray[np.floating[Any]]) -> float:
    """The largest of absolute errors, which must be within tolerance.

    Raises:
        ParityError: it is larger, or not a number.
    """
    largest = float(np.max(np.abs(error), initial=0.0))
    if not largest <= TOLERANCE:
        raise ParityError(f"{name}: differs from PyTorch by {largest:.3g}, expected at most {TOLERANCE:g}")
    return largest


def _cuts(length: int) -> list[list[int]]:
    """One by one, and in uneven pieces."""
    uneven, left = [], length
    for size in (5, 1, 11, 2, 7, 3) * length:
        if left:
            uneven.append(min(size, left))
            left -= uneven[-1]
    return [[1] * length, uneven]
