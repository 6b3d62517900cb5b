"""What an export has written: the graphs, the weights they share and the state row, ready for a manifest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from service.contract.manifest import FileReference, GraphName, GraphReference, StateField, StateLayout
from training.export.builder import GraphBuilder, Weights
from training.networks.recurrence import Cell


@dataclass(frozen=True)
class Exported:
    """The files of one model in `folder`, which holds nothing else yet; `publish` adds the manifest."""

    folder: Path
    graphs: dict[GraphName, GraphReference]
    weights: FileReference
    state: StateLayout
    minimum_batch: int
    cell: Cell


@dataclass(frozen=True)
class Verified:
    """An export that computes what its network computes; made by the parity checks alone."""

    exported: Exported
    max_abs_error: float
    """Largest difference found: of a forecaster in units of its scale, of a text generator in nats, of a classifier in
    probability."""


def state_layout(fields: list[tuple[str, tuple[int, ...]]]) -> StateLayout:
    """The row in which the named fields lie one after another."""
    placed: list[StateField] = []
    width = 0
    for name, shape in fields:
        placed.append(StateField(name=name, offset=width, shape=shape))
        width += placed[-1].size
    return StateLayout(width=width, fields=tuple(placed))


def save_export(
    folder: Path,
    graphs: dict[GraphName, GraphBuilder],
    weights: Weights,
    state: StateLayout,
    cell: Cell,
    metadata: dict[str, str],
) -> Exported:
    """Write the weights and the graphs into `folder`, which is created where it does not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    minimum_batch = minimum_batch_of(cell)
    reference = weights.save(folder)  # first: the checker follows the graphs' references into it
    metadata = {"cell": cell, "minimum_batch": str(minimum_batch), **metadata}
    references = {name: graph.save(folder, metadata) for name, graph in graphs.items()}
    return Exported(folder, references, reference, state, minimum_batch, cell)


def minimum_batch_of(cell: Cell) -> int:
    """The smallest batch whose results are exact in every bit: onnxruntime's plain RNN differs at batch 1."""
    return 2 if cell == "RNN" else 1
