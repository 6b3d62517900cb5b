"""Sessions that go on elsewhere: on another version of their model, or from a snapshot, here or at another server."""

from __future__ import annotations

from msgspec.structs import replace

from service.engine.engine import Engine
from service.errors import InputMismatch, SessionMoved, VersionGone
from service.journal import NOWHERE, Entry, clock
from service.journal.codec import CodecError, Records
from service.models.model import Model
from service.sessions.async_journal import AsyncJournal
from service.sessions.commit import entry_of
from service.sessions.fingerprint import fingerprint
from service.sessions.ownership import SessionKey, public_id
from service.sessions.record import Record
from service.sessions.restoring import expired, key_of, lives
from service.sessions.session import Session
from service.sessions.snapshot import Snapshot, digest_of_model, require_model, seal, unseal
from service.sessions.store import SessionStore

_RECORDS: Records[Record] = Records(Record)


class Snapshots:
    """Sessions as blobs that only servers of one key believe.

    Args:
        key: the operator's; where there is none, those who share a journal share one that lies there.
    """

    def __init__(self, journal: AsyncJournal, key: str) -> None:
        self._journal = journal
        self._key = key.encode()

    async def take(self, session: Session) -> bytes:
        """The session as it stands."""
        async with session.turn(fresh=True) as turn:
            row, record = (await turn.row()).tobytes(), session.record
        manifest = session.model.manifest
        snapshot = Snapshot(
            *(manifest.name, manifest.version, digest_of_model(manifest), record.position, clock.now()),
            record=_RECORDS.encode(record),
            row=row,
        )
        return seal(snapshot, await self._secret())

    async def read(self, blob: bytes) -> Snapshot:
        """What is in a blob.

        Raises:
            InputMismatch: it is none of ours.
        """
        return unseal(blob, await self._secret())

    async def _secret(self) -> bytes:
        return self._key or await self._journal.secret("snapshots")


def record_in(snapshot: Snapshot, model: Model) -> Record:
    """What the session of a snapshot remembers.

    Raises:
        InputMismatch: it is of another model, or of another release of this service.
    """
    require_model(snapshot, model.manifest)
    try:
        return _RECORDS.decode(snapshot.record)
    except CodecError as error:
        raise InputMismatch(f"snapshot: it was taken by another release: {error}", parameter="snapshot") from error


async def migrate(store: SessionStore, journal: AsyncJournal, key: SessionKey, engine: Engine) -> Session:
    """Let a session go on with another model version, from the row it has.

    Raises:
        InputMismatch: rows of that version hold something else.
        SessionNotFound, SessionExpired, SessionMoved, JournalUnavailable
    """
    try:
        session = await store.get(key)
    except VersionGone:
        await _migrate_stored(journal, key, engine)
        return await store.get(key)
    async with session.turn(fresh=True) as turn:
        _require_layout(session.record, engine)
        row = await turn.row()
        moved = replace(session, engine=engine, slot=None, bucket=None, pinned=False, _held=False, _waiting=None)
        if session.stored != NOWHERE:
            await _commit(journal, entry_of(moved, moved.record, row.tobytes()))
        store.live.replace(session, moved, row)
    return moved


async def _migrate_stored(journal: AsyncJournal, key: SessionKey, engine: Engine) -> None:
    entry = await journal.load(key)
    assert entry is not None
    if not lives(entry):
        raise expired(key)
    _require_layout(entry.record, engine)
    found = fingerprint(engine.model)
    record = replace(entry.record, model_id=engine.model.manifest.id, computes=found.computes, layout=found.layout)
    await _commit(journal, replace(entry, record=record, previous=entry.position))


async def _commit(journal: AsyncJournal, entry: Entry) -> None:
    if await journal.commit([entry]):
        raise SessionMoved(f"session {public_id(key_of(entry))} was moved by another replica meanwhile: ask again")


def _require_layout(record: Record, engine: Engine) -> None:
    if record.layout != fingerprint(engine.model).layout:
        raise InputMismatch(
            f"version: rows of {engine.model.manifest.id} hold something else than those of {record.model_id}: name a "
            "version of the same state layout, or open a new session and send the history again",
            parameter="version",
        )
