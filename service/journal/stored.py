"""An entry as the bytes that every durable journal and a snapshot hold: a fixed head, the id, the row, the record.

    0   4   format        "URJ1"
    4   4   checksum      CRC-32 of all that follows
    8   8   epoch
    16  8   position
    24  8   expires       Unix time in seconds
    32  2   length of the id
    34  4   length of the row
    38  …   id (UTF-8), row, record

Numbers are little-endian.
"""

from __future__ import annotations

from struct import Struct
from typing import Any, NamedTuple
from zlib import crc32

from service.errors import JournalDamaged
from service.journal import Entry
from service.journal.codec import CodecError, Records

FORMAT = b"URJ1"
_START = Struct("<4sI")
_HEAD = Struct("<qqdHI")
_EXPIRES = Struct("<d")
_EXPIRES_AT = 24


class Stored(NamedTuple):
    """A stored entry, its record still bytes."""

    session_id: str
    epoch: int
    position: int
    expires: float
    row: bytes
    record: bytes


def pack(stored: Stored) -> bytes:
    """The bytes of an entry."""
    session_id = stored.session_id.encode()
    head = _HEAD.pack(stored.epoch, stored.position, stored.expires, len(session_id), len(stored.row)) + session_id
    checksum = crc32(stored.record, crc32(stored.row, crc32(head)))
    return b"".join((_START.pack(FORMAT, checksum), head, stored.row, stored.record))


def unpack(data: bytes, session_id: str | None = None) -> Stored:
    """The entry in `data`, which must be of the session by that id if one is given.

    Raises:
        JournalDamaged: it is of another format, cut short, changed, or another session's.
    """
    who = "an entry" if session_id is None else f"session {session_id}"
    if data[:4] != FORMAT:
        raise JournalDamaged(f"{who}: expected the format {FORMAT.decode()}, got {bytes(data[:4])!r}")
    if len(data) < _START.size + _HEAD.size or crc32(data[_START.size :]) != _START.unpack_from(data)[1]:
        raise JournalDamaged(f"{who}: what is stored was changed or cut short: its checksum is wrong")
    epoch, position, expires, id_length, row_length = _HEAD.unpack_from(data, _START.size)
    id_at = _START.size + _HEAD.size
    row_at = id_at + id_length
    stored_id = data[id_at:row_at].decode()
    if session_id not in (None, stored_id):
        raise JournalDamaged(f"{who}: what is stored there is session {stored_id}")
    record_at = row_at + row_length
    return Stored(stored_id, epoch, position, expires, data[row_at:record_at], data[record_at:])


def with_expiry(data: bytes, expires: float) -> bytes:
    """The same entry with another time to expire."""
    content = data[_START.size : _EXPIRES_AT] + _EXPIRES.pack(expires) + data[_EXPIRES_AT + _EXPIRES.size :]
    return _START.pack(FORMAT, crc32(content)) + content


def pack_entry(entry: Entry, records: Records[Any]) -> bytes:
    """The bytes of an entry whose record is of the kind that `records` knows."""
    return pack(
        Stored(entry.session_id, entry.epoch, entry.position, entry.expires, entry.row, records.encode(entry.record))
    )


def unpack_entry(data: bytes, records: Records[Any], session_id: str) -> Entry:
    """The entry of the session by that id.

    Raises:
        JournalDamaged: see `unpack`; or its record is of another kind.
    """
    stored = unpack(data, session_id)
    try:
        record = records.decode(stored.record)
    except CodecError as error:
        raise JournalDamaged(f"session {session_id}: its record cannot be read: {error}") from error
    return Entry(
        session_id, stored.position, stored.row, record, stored.epoch, previous=stored.position, expires=stored.expires
    )


def ended(session_id: str, epoch: int, position: int, expires: float) -> Entry:
    """What is told of a session whose time has passed and whose row is gone."""
    return Entry(session_id, position, b"", None, epoch, previous=position, expires=expires)
