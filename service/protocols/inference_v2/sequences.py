"""Triton's sequences as sessions: begun by `sequence_start`, ended by `sequence_end`, scoped by the model's name.

The session of sequence 42 of model `pump` is `pump:42`, and everything else that serves sessions may use it too.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import numpy as np

from service.access.caller import own, owner
from service.errors import InputMismatch, SessionExists, SessionExpired, SessionNotFound, VersionGone
from service.models.model import Model
from service.protocols.arrays import timestamp
from service.protocols.context import Context
from service.protocols.inference_v2.core import Parameters
from service.protocols.inference_v2.parameters import SequenceParameters, read_static
from service.protocols.model_names import find_model
from service.protocols.session_use import expected
from service.sessions.frequency import frequency_of, require_frequency, told_frequency
from service.sessions.service import OpenSession
from service.sessions.session import Session
from service.sessions.static import initial_row
from service.sessions.threshold import require_threshold
from service.sessions.transition import Expected
from service.tasks.series_inputs import calendar_input

# A text of digits alone would be the number's session.
_READABLE = re.compile(r"(?![0-9]+$)[A-Za-z0-9._-]{1,63}")


@dataclass(frozen=True)
class Target:
    """What a request names: a model, perhaps a version of it, perhaps a sequence on it."""

    model: str
    version: str
    asked: SequenceParameters
    first_timestamp: str | None = None
    static_covariates: str | None = None
    anomaly_threshold: float | None = None
    frequency: str | None = None

    def find_model(self, context: Context) -> Model:
        """The model of a request without a sequence, or of a new one.

        Raises:
            ModelNotFound: there is none.
        """
        reference = f"{self.model}/{self.version}" if self.version else self.model
        return find_model(context.service.repository, reference)

    @property
    def expected(self) -> Expected:
        return expected(self.asked.position, self.asked.idempotency_key)


def session_id_of(model: str, sequence_id: int | str) -> str:
    """The session's id: the sequence's own where it can be read in it, else a digest of it."""
    if isinstance(sequence_id, int) or _READABLE.fullmatch(sequence_id):
        return f"{model}:{sequence_id}"
    return f"{model}:id:{hashlib.blake2b(sequence_id.encode(), digest_size=16).hexdigest()}"


class Sequence:
    """The sequence a request belongs to: found, or about to begin on `model`. Nothing has changed before `session`."""

    def __init__(self, context: Context, target: Target, model: Model, whole: Session | OpenSession) -> None:
        self.model = model
        self._context = context
        self._target = target
        self._whole = whole

    @classmethod
    async def find(cls, context: Context, target: Target) -> Sequence:
        """The sequence that a request means.

        Raises:
            InputMismatch: the sequence is unknown and not started, is on another version, or cannot start like this.
            ModelNotFound, SessionExpired, VersionGone, JournalUnavailable
        """
        session_id = session_id_of(target.model, target.asked.sequence_id)
        if target.asked.sequence_start and not await _is_repeated(context, session_id, target.expected):
            model = target.find_model(context)
            return cls(context, target, model, _opening(target, model, session_id))
        found = await _find(context, target, session_id)
        return cls(context, target, found.model, found)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """The session: opened where the sequence starts, and closed after the request where it ends.

        One that was opened for a request that fails is closed again.
        """
        store = self._context.service.store
        whole = self._whole
        session = await self._begin(whole) if isinstance(whole, OpenSession) else whole
        try:
            yield session
        except SessionNotFound as error:  # closed or begun anew by another request meanwhile
            raise _unknown(self._target) from error
        except BaseException:
            if isinstance(whole, OpenSession):
                await store.discard_unused(session)
            raise
        if self._target.asked.sequence_end:
            # Whoever was faster has ended it as well.
            with suppress(SessionNotFound, SessionExpired):
                if await store.get(session.key) is session:
                    await store.close(session.key)

    async def _begin(self, wanted: OpenSession) -> Session:
        """A new session, in place of the one there may be."""
        assert wanted.id is not None
        while True:
            with suppress(SessionNotFound, SessionExpired):
                await self._context.service.store.close(own(wanted.id))
            # Another request may have started it meanwhile; the last to start is the one that stays.
            with suppress(SessionExists):
                return await self._context.service.open(wanted)


def told(
    asked: SequenceParameters,
    position: int,
    durable_position: int,
    *,
    repeated: bool,
    restored: bool,
    anomaly: bool = False,
) -> Parameters:
    """What an answer says of its sequence; `anomaly` where one of the values was flagged."""
    parameters: Parameters = {
        "sequence_id": asked.sequence_id,
        "position": position,
        "durable_position": durable_position,
    }
    said: Parameters = {"repeated": repeated, "restored": restored, "anomaly": anomaly}
    return parameters | {name: value for name, value in said.items() if value}


async def _is_repeated(context: Context, session_id: str, when: Expected) -> bool:
    """Whether a start is the one that the session began with, sent again: it is answered again, not begun again."""
    if when.key is None:
        return False
    try:
        last = (await context.service.store.get(own(session_id))).last
    except (SessionNotFound, SessionExpired, VersionGone):
        return False
    return last is not None and last.key == when.key and last.start == 0


def _opening(target: Target, model: Model, session_id: str) -> OpenSession:
    """How to open the session of a sequence; all that could speak against it is found out here."""
    asked, manifest = target.asked, model.manifest
    if asked.position not in (None, 0):
        raise InputMismatch(
            f"parameters.position: expected 0 where a sequence starts, got {asked.position}", parameter="position"
        )
    first = read_timestamp(target.first_timestamp)
    static = read_static(target.static_covariates)
    told = told_frequency(manifest, target.frequency)
    initial_row(model, static, told)
    require_timestamp(model, first)
    if first is not None and manifest.forecast is not None:
        require_frequency(manifest, frequency_of(manifest, told), "first_timestamp")
    if manifest.forecast is not None:
        calendar_input(manifest.forecast, 0, 1, first)
    elif first is not None:
        does = "classifiers" if manifest.classify else "text models"
        raise InputMismatch(f"parameters.first_timestamp: {does} have none", parameter="first_timestamp")
    return OpenSession(
        manifest.name,
        manifest.version,
        owner=owner(),
        id=session_id,
        first_timestamp=first,
        frequency=target.frequency,
        static=static,
        seed=asked.seed,
        durability=asked.durability,
        anomaly_threshold=require_threshold(model, target.anomaly_threshold),
    )


async def _find(context: Context, target: Target, session_id: str) -> Session:
    if not target.asked.sequence_start:
        for name in ("first_timestamp", "static_covariates", "anomaly_threshold", "frequency"):
            if getattr(target, name) is not None:
                raise InputMismatch(f"parameters.{name}: expected only where the sequence starts", parameter=name)
    try:
        session = await context.service.store.get(own(session_id))
    except SessionNotFound:
        target.find_model(context)  # an unknown model is the truer answer
        raise _unknown(target) from None
    name, version = session.model.manifest.name, session.model.manifest.version
    if name != target.model:
        raise InputMismatch(
            f"parameters.sequence_id: session {session.id} is on model {name}, not on {target.model}: use another id",
            parameter="sequence_id",
        )
    if target.version not in ("", str(version)):
        raise InputMismatch(
            f"version: sequence {target.asked.sequence_id!r:.80} is on version {version} of model {target.model}, "
            f"not on {target.version[:20]}: start it anew, or leave the version out",
            parameter="version",
        )
    return session


def _unknown(target: Target) -> InputMismatch:
    return InputMismatch(
        f"parameters.sequence_id: model {target.model} has no sequence {target.asked.sequence_id!r:.80}: its first "
        "request needs sequence_start",
        parameter="sequence_id",
    )


def require_timestamp(model: Model, first: np.datetime64 | None) -> None:
    """Check that a model that looks at the calendar is told where in it the steps are.

    Raises:
        InputMismatch: it is not.
    """
    if first is None and model.manifest.forecast is not None and model.manifest.forecast.calendar:
        raise InputMismatch(
            f"parameters.first_timestamp: model {model.manifest.id} looks at the calendar: give the time of the first "
            "step that is sent",
            parameter="first_timestamp",
        )


def read_timestamp(text: str | None) -> np.datetime64 | None:
    """The parameter `first_timestamp`, if it is given.

    Raises:
        InputMismatch: not ISO 8601.
    """
    return None if text is None else timestamp(text, "parameters.first_timestamp")
