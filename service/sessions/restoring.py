"""From what the journal keeps to a session, and what is said where that cannot be."""

from __future__ import annotations

from service.engine.engine import Engine
from service.errors import SessionExists, SessionExpired, VersionGone
from service.journal import Entry, clock
from service.models.model import Model
from service.sessions.fingerprint import fingerprint
from service.sessions.ownership import SessionKey, public_id
from service.sessions.record import Record
from service.sessions.session import Home, Session

_FLOAT_BYTES = 4


def key_of(entry: Entry) -> SessionKey:
    """The name of the session that an entry is of."""
    return SessionKey(entry.session_id)


def lives(entry: Entry | None) -> bool:
    """Whether the journal has a session whose time has not passed."""
    return entry is not None and entry.expires > clock.now()


def new_from(entry: Entry, engine: Engine, home: Home) -> Session:
    """A session to stand where the entry says, once it is let."""
    record: Record = entry.record
    return Session(
        key=key_of(entry),
        engine=engine,
        seed=record.seed,
        time_to_live_s=record.time_to_live_s,
        first_timestamp=record.first_timestamp,
        home=home,
        created=record.created,
        used=entry.expires - record.time_to_live_s,
    )


def take_over(session: Session, entry: Entry) -> None:
    """Let a session stand where the entry says."""
    record: Record = entry.record
    session.epoch = entry.epoch
    session.position = session.stored = session.durable_position = entry.position
    session.stored_expires = entry.expires
    session.seed = record.seed
    session.time_to_live_s = record.time_to_live_s
    session.first_timestamp = record.first_timestamp
    session.text_pending = record.text_pending
    session.recent = record.recent
    session.last = record.last
    session.durability = record.durability
    session.anomaly_threshold = record.anomaly_threshold
    session.frequency = record.frequency
    session.created = record.created
    session.stale = False


def require_same_model(entry: Entry, model: Model) -> None:
    """Raises VersionGone where the entry is of a model by the same name that computed something else."""
    record: Record = entry.record
    fits = len(entry.row) == model.manifest.state.width * _FLOAT_BYTES
    if not fits or record.computes != fingerprint(model).computes:
        raise gone(key_of(entry), record.model_id, "what is served under that name has other graphs or weights")


def gone(key: SessionKey, model_id: str, why: str) -> VersionGone:
    """What a session is answered whose model version is not served here, and the ways on."""
    session_id = public_id(key)
    return VersionGone(
        f"session {session_id} is kept, but on model {model_id}, and {why}: put that version back; or move the session "
        f"to one of the same state layout with POST /v1/sessions/{session_id}/migrate; or open a new session and "
        "send its history again",
        parameter="model",
    )


def expired(key: SessionKey) -> SessionExpired:
    return SessionExpired(f"session {public_id(key)} was idle for longer than its time to live: open a new one")


def exists(key: SessionKey) -> SessionExists:
    return SessionExists(f"session {public_id(key)} is open already: use it, close it, or choose another id")
