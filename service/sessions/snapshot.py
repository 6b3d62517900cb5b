"""A session as one blob that may leave the server and come back: versioned, checksummed, signed with a server's key.

    0   8   format       "URSNAP1" and a line feed
    8   4   length of the head
    12  …   head         MessagePack: the model and version, a digest of what they compute, the position, when
    …   …   record       as the journal keeps it, its length in the head; then the row
    −64 32  checksum     SHA-256 of all before it: tells damage from a foreign key
    −32 32  signature    HMAC-SHA-256 of all before it

A blob is believed in full or not at all: nothing in it is read before its signature is right.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from struct import Struct
from struct import error as StructError

import msgspec

from service.contract.manifest import Manifest
from service.errors import InputMismatch

FORMAT = b"URSNAP1\n"
_HEAD_LENGTH = Struct("<I")
_DIGEST_BYTES = 32
_PURPOSE = b"unroll snapshot of a session"
_FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One session at one position.

    Args:
        computes: a digest of the model's graphs and weights; see `digest_of_model`.
        taken: Unix time in seconds.
        record: what the journal keeps of the session, as its bytes.
        row: the state, as bytes.
    """

    model: str
    version: int
    computes: str
    position: int
    taken: float
    record: bytes
    row: bytes


class _Head(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    model: str
    version: int
    computes: str
    position: int
    taken: float
    record_bytes: int


def seal(snapshot: Snapshot, key: bytes) -> bytes:
    """The blob, signed with the server's key."""
    head = msgspec.msgpack.encode(
        _Head(
            snapshot.model,
            snapshot.version,
            snapshot.computes,
            snapshot.position,
            snapshot.taken,
            len(snapshot.record),
        )
    )
    content = b"".join((FORMAT, _HEAD_LENGTH.pack(len(head)), head, snapshot.record, snapshot.row))
    content += hashlib.sha256(content).digest()
    return content + _signature(content, key)


def unseal(blob: bytes, key: bytes) -> Snapshot:
    """The snapshot in a blob that was signed with the same key.

    Raises:
        InputMismatch: it is none, of another format or release, cut short or changed, or another server's.
    """
    if blob[: len(FORMAT)] != FORMAT:
        raise _mismatch(f"expected a snapshot of the format {FORMAT.decode().strip()}, got something else")
    signed, signature = blob[:-_DIGEST_BYTES], blob[-_DIGEST_BYTES:]
    content, checksum = signed[:-_DIGEST_BYTES], signed[-_DIGEST_BYTES:]
    if not hmac.compare_digest(hashlib.sha256(content).digest(), checksum):
        raise _mismatch("it was changed or cut short on its way: its checksum is wrong; send it as it was given")
    if not hmac.compare_digest(_signature(signed, key), signature):
        raise _mismatch("it was signed with another key: servers that exchange snapshots need the same one")
    head_at = len(FORMAT) + _HEAD_LENGTH.size
    try:
        record_at = head_at + _HEAD_LENGTH.unpack_from(content, len(FORMAT))[0]
        head = msgspec.msgpack.decode(content[head_at:record_at], type=_Head)
    except (StructError, msgspec.DecodeError, UnicodeDecodeError) as error:
        # Signed with the right key, so another release's.
        raise _mismatch(f"it was taken by another release: {error}") from None
    row_at = record_at + head.record_bytes
    return Snapshot(
        *(head.model, head.version, head.computes, head.position, head.taken),
        record=content[record_at:row_at],
        row=content[row_at:],
    )


def require_model(snapshot: Snapshot, manifest: Manifest) -> None:
    """Raises InputMismatch where the snapshot is of another model, of another version, or of what only has its name."""
    taken_of = f"{snapshot.model}/{snapshot.version}"
    if taken_of != manifest.id:
        raise _mismatch(f"it is of model {taken_of}, not of {manifest.id}: name that one, or open a new session")
    if snapshot.computes != digest_of_model(manifest) or len(snapshot.row) != manifest.state.width * _FLOAT_BYTES:
        raise _mismatch(f"it is of a model {taken_of} with other graphs or weights than the one served here")


def digest_of_model(manifest: Manifest) -> str:
    """What two models of one name have in common if they give the same bits: graphs and weights.

    `predict` and `forecast` do not count, which tell what the rows say, nor does `prefill`, which no session's row goes
    through: a model may get one of them and keep its sessions.
    """
    told = ("predict", "forecast", "prefill")
    parts = [f"{name} {graph.sha256}" for name, graph in sorted(manifest.graphs.items()) if name not in told]
    return hashlib.sha256("\n".join([*parts, manifest.weights.sha256]).encode()).hexdigest()


def _signature(signed: bytes, key: bytes) -> bytes:
    return hmac.digest(key, _PURPOSE + signed, "sha256")


def _mismatch(what: str) -> InputMismatch:
    return InputMismatch(f"snapshot: {what}", parameter="snapshot")
