"""One engine for each loaded model version, started when first needed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

from service.engine.calibration import Calibration, calibrate
from service.engine.engine import QUEUE_SECONDS, Engine, Meter, Watch
from service.errors import ShuttingDown
from service.models.model import Model
from service.sessions.async_journal import AsyncJournal


class Engines:
    """The engines of a process. All methods belong to the event loop.

    Args:
        journal: started, where it outlives the process, before the first engine is.
        capacity: rows in each engine's state table.
        queue_limit: jobs that may wait at each engine.
        queue_seconds: of work that may lie before a request at each engine.
        meter: told of every job.
    """

    def __init__(
        self,
        journal: AsyncJournal,
        watch: Watch,
        *,
        capacity: int,
        queue_limit: int,
        queue_seconds: float = QUEUE_SECONDS,
        meter: Meter | None = None,
    ) -> None:
        self._journal = journal
        self._watch = watch
        self._capacity = capacity
        self._queue_limit, self._queue_seconds = queue_limit, queue_seconds
        self._meter = meter
        self._engines: dict[Model, Engine] = {}
        self._requests: Counter[Model] = Counter()
        self._calibrations: WeakKeyDictionary[Model, Calibration] = WeakKeyDictionary()
        self._stopped = False

    async def prepare(self, model: Model) -> None:
        """Measure the model off the event loop, so that its engine starts at once when it is needed."""
        if model not in self._calibrations:
            self._calibrations[model] = await asyncio.to_thread(calibrate, model)

    def of(self, model: Model) -> Engine:
        """The engine that runs the model.

        Raises:
            ShuttingDown: engines are being stopped, and none is started any more.
        """
        if self._stopped:
            raise ShuttingDown()
        if model not in self._engines:
            if model not in self._calibrations:
                self._calibrations[model] = calibrate(model)
            self._engines[model] = Engine(
                *(model, self._journal.writer, self._watch),
                calibration=self._calibrations[model],
                capacity=self._capacity,
                queue_limit=self._queue_limit,
                queue_seconds=self._queue_seconds,
                meter=self._meter,
            )
        return self._engines[model]

    @contextmanager
    def using(self, model: Model) -> Iterator[Engine]:
        """The engine that runs the model, which is not retired before a request without a session is done with it."""
        engine = self.of(model)
        self._requests[model] += 1
        try:
            yield engine
        finally:
            self._requests[model] -= 1
            if not self._requests[model]:
                del self._requests[model]

    def models(self) -> list[Model]:
        """The models whose engines run."""
        return list(self._engines)

    async def retire_all_but(self, needed: Iterable[Model], grace_s: float) -> None:
        """Stop the engines of models that are not needed and that no request without a session is using."""
        keep = {*needed, *self._requests}
        await self._stop([model for model in self._engines if model not in keep], grace_s)

    async def stop(self, grace_s: float) -> None:
        """Stop all engines, each finishing what waits for at most `grace_s` seconds, and start no more."""
        self._stopped = True
        await self._stop(list(self._engines), grace_s)

    async def _stop(self, models: list[Model], grace_s: float) -> None:
        # Taken out before anything is waited for, so that two who stop them at once do not meet.
        engines = [self._engines.pop(model) for model in models]
        await asyncio.gather(*(engine.stop(grace_s) for engine in engines))
