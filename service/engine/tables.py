"""State tables that runs take their rows from and put them back into: on the host, or on the device of the model.

One interface for both: `gather` before a run and `scatter` after it, and `take`, `put`, `acquire` and `release` for
whoever has rows on the host.
"""

from __future__ import annotations

from service.contract.manifest import GraphName
from service.engine.device_table import DeviceTable
from service.engine.slots import SlotNumbers
from service.engine.state_table import StateTable
from service.models.device_run import DeviceRuns
from service.models.graph_run import GraphRun, HostRun, HostRuns, Which
from service.models.model import Model


class HostTable(StateTable):
    """A state table in the host's memory."""

    def gather(self, slots: SlotNumbers, run: GraphRun) -> None:
        """Let the rows (B, S) in these slots be the state that the run starts from."""
        assert isinstance(run, HostRun) and run.state is not None
        self.take(slots, out=run.state)

    def scatter(self, slots: SlotNumbers, run: GraphRun, which: Which = slice(None)) -> None:
        """Store the rows `which` of the run's batch, as its last step left them, in these distinct slots."""
        assert isinstance(run, HostRun) and run.next_state is not None
        self.put(slots, run.next_state[which])


Table = HostTable | DeviceTable
Runs = HostRuns | DeviceRuns


def table_of(model: Model, capacity: int) -> Table:
    """A state table for the model's rows, where the model runs."""
    width, device = model.manifest.state.width, model.graphs["observe"].device
    return HostTable(width, capacity) if device.name == "cpu" else DeviceTable(width, capacity, device)


def runs_of(model: Model, name: GraphName, table: Table) -> Runs:
    """The prepared runs of one of the model's graphs on rows of this table, for the thread that asks."""
    graph, minimum_batch = model.graphs[name], model.manifest.minimum_batch
    if isinstance(table, DeviceTable):
        return DeviceRuns(graph, table.mover, minimum_batch, chained=name == "generate")
    return HostRuns(graph, minimum_batch)
