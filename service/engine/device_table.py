"""State rows in the memory of a device: gathered for a run and scattered back without leaving it."""

from __future__ import annotations

from threading import Lock

import numpy as np

from service.engine.slots import SlotNumbers, Slots
from service.engine.state_table import Rows
from service.models.device import Device
from service.models.device_rows import RowMover, device_rows
from service.models.device_run import DeviceRun
from service.models.graph_run import GraphRun, Which


class DeviceTable(Slots):
    """`capacity` rows of `width` float32 values, by slot; the device's memory for all of them is taken at once.

    Rows that come from the host one by one wait there and are written in one transfer before the next use of the
    table, so that opening a session costs no trip to the device.

    Raises:
        StepFailed: the device has too little memory.
    """

    def __init__(self, width: int, capacity: int, device: Device) -> None:
        super().__init__(capacity)
        self.mover = RowMover(device)
        self._rows = device_rows(capacity, width, device)
        self._nothing: Rows = np.zeros(width, np.float32)
        self._waiting: dict[int, Rows] = {}
        self._lock = Lock()

    @property
    def row_bytes(self) -> int:
        return int(self._nothing.nbytes)

    def acquire(self, row: Rows) -> int | None:
        """A slot that now holds `row` (S,), or None when all slots are in use."""
        slot = self.claim()
        if slot is not None:
            with self._lock:
                self._waiting[slot] = np.array(row, np.float32)
        return slot

    def release(self, slot: int) -> None:
        """Give a slot back; nothing of its row is left."""
        with self._lock:
            self._waiting[slot] = self._nothing
        self.free(slot)

    def take(self, slots: SlotNumbers, out: Rows | None = None) -> Rows:
        """The rows (B, S) in the given slots: a copy on the host, in `out` where given."""
        with self._lock:
            self._write_waiting()
            rows = self.mover.take(self._rows, slots)
        if out is None:
            return rows
        out[...] = rows
        return out

    def put(self, slots: SlotNumbers, rows: Rows) -> None:
        """Store rows (B, S) of the host in the given, distinct slots."""
        with self._lock:
            self._write_waiting()
            self.mover.scatter(np.ascontiguousarray(rows), range(len(rows)), self._rows, slots)

    def gather(self, slots: SlotNumbers, run: GraphRun) -> None:
        """Let the rows (B, S) in these slots be the state that the run starts from."""
        assert isinstance(run, DeviceRun)
        with self._lock:
            self._write_waiting()
            run.gather_rows(self._rows, np.asarray(slots, np.intp))

    def scatter(self, slots: SlotNumbers, run: GraphRun, which: Which = slice(None)) -> None:
        """Store the rows `which` of the run's batch, as its last step left them, in these distinct slots."""
        assert isinstance(run, DeviceRun)
        with self._lock:
            self._write_waiting()
            run.scatter_rows(which, self._rows, np.asarray(slots, np.intp))

    def _write_waiting(self) -> None:
        if self._waiting:
            slots, rows = list(self._waiting), np.stack(list(self._waiting.values()))
            self.mover.scatter(rows, range(len(rows)), self._rows, slots)
            self._waiting.clear()
