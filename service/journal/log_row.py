"""One row of a SQLite journal's log: a commit's entries as bytes, of a length that others may be written over.

    0   4   format        "URL2"
    4   4   checksum      CRC-32 of the next twelve bytes and the content
    8   8   number        commits are counted; one whose number is not above the last one folded is of the past
    16  4   length of the content
    20  …   content: the entries as MessagePack arrays; then zeros

Numbers are little-endian. Rows written before this format are lists of ids and stored entries, numbered by their place.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Any, NamedTuple
from zlib import crc32

import msgspec

from service.errors import JournalDamaged
from service.journal import Entry
from service.journal.codec import CodecError, Records
from service.journal.stored import unpack_entry

FORMAT = b"URL2"
_START = Struct("<4sI")
_HEAD = Struct("<qI")
_CONTENT_AT = _START.size + _HEAD.size
_PAGE = 4096
_REMOVED = -3
"""In place of a position: the session was removed."""

_first_format = msgspec.msgpack.Decoder(list[tuple[str, bytes]])


class LogRow(NamedTuple):
    """A row of the log, read."""

    number: int
    entries: list[Entry]


class _Written(msgspec.Struct, array_like=True, gc=False):
    """An entry as it was written, its record still bytes."""

    session_id: str
    position: int
    row: bytes
    record: msgspec.Raw
    epoch: int
    previous: int
    expires: float


_decoder = msgspec.msgpack.Decoder(list[_Written])


def removal(session_id: str) -> Entry:
    """What the log says of a session that was removed."""
    return Entry(session_id, _REMOVED, b"", None)


def is_removal(entry: Entry) -> bool:
    """Whether it says that the session was removed."""
    return entry.position == _REMOVED


def write_row(number: int, entries: Sequence[Entry], records: Records[Any]) -> bytearray:
    """The row of a commit."""
    row = bytearray(_CONTENT_AT)
    records.append(entries, row)
    head = _HEAD.pack(number, len(row) - _CONTENT_AT)
    row[:_CONTENT_AT] = _START.pack(FORMAT, _checksum(head, row, len(row))) + head
    row += bytes(room_for(len(row)) - len(row))
    return row


def room_for(length: int) -> int:
    """How long a row is made that holds so many bytes: whole pages, in few sizes that lie a quarter apart at most."""
    pages = -(-length // _PAGE)
    step = 1 << max(0, pages.bit_length() - 3)
    return -(-pages // step) * step * _PAGE


def read_row(place: int, row: bytes, records: Records[Any]) -> LogRow:
    """What a row holds, in the order in which it was committed.

    Raises:
        JournalDamaged: it cannot be read.
    """
    if row[:4] != FORMAT:
        return LogRow(place, _of_first_format(row, records))
    if len(row) < _CONTENT_AT:
        raise JournalDamaged("the log of recent commits was cut short")
    head = row[_START.size : _CONTENT_AT]
    number, length = _HEAD.unpack(head)
    end = _CONTENT_AT + length
    if end > len(row) or _checksum(head, row, end) != _START.unpack_from(row)[1]:
        raise JournalDamaged("the log of recent commits was changed or cut short: a checksum in it is wrong")
    try:
        return LogRow(number, [_entry(written, records) for written in _decoder.decode(row[_CONTENT_AT:end])])
    except (msgspec.MsgspecError, CodecError) as error:
        raise JournalDamaged(f"the log of recent commits cannot be read: {error}") from error


def _checksum(head: bytes, row: bytes | bytearray, end: int) -> int:
    """Made piece by piece: for more than 5 KiB Python would let go of its lock, and wait to have it back."""
    checksum = crc32(head)
    with memoryview(row) as seen:
        for at in range(_CONTENT_AT, end, _PAGE):
            checksum = crc32(seen[at : min(at + _PAGE, end)], checksum)
    return checksum


def _entry(written: _Written, records: Records[Any]) -> Entry:
    record = None if written.position == _REMOVED else records.decode(bytes(written.record))
    return Entry(
        *(written.session_id, written.position, written.row, record),
        *(written.epoch, written.previous, written.expires),
    )


def _of_first_format(row: bytes, records: Records[Any]) -> list[Entry]:
    try:
        items = _first_format.decode(row)
    except ValueError as error:
        raise JournalDamaged(f"the log of recent commits cannot be read: {error}") from error
    return [unpack_entry(data, records, name) if data else removal(name) for name, data in items]
