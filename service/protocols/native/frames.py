"""Binary WebSocket frames: many steps of float32 behind a header of 32 bytes, all little-endian.

    offset  type      request                              answer
    0       2 bytes   "UN"                                 "UN"
    2       uint8     1, the version of this layout        1
    3       uint8     1 observe                            129 observed
    4       uint32    T, steps                             T
    8       uint16    1 + K, numbers per step              Q + 1, or Q + 2 with scores, numbers per step
    10      uint16    4 to be told scores, else 0          1 if the answer was recorded before, + 2 if the session
                                                           was restored from the journal, + 4 if scores are told,
                                                           + 8 if one of the values is an anomaly
    12      uint32    a number of the client's own         the same number
    16      int64     position expected, −1 for none       position now
    24      int64     0                                    position that is durable
    32      float32   T × (value, K covariates)            T × (Q quantiles, pit, anomaly score if told)

An anomaly is a value whose score reached the session's threshold, or its model's; its flag is told without scores too.
Covariates come in the manifest's order. NaN is a missing value in requests, and "nothing predicted" in answers.
Errors answer as JSON text frames, with the client's number as `id`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.errors import BadRequest, InputMismatch
from service.protocols.arrays import LARGEST

HEADER = struct.Struct("<2sBBIHHIqq")
MAGIC, VERSION = b"UN", 1
OBSERVE, OBSERVED = 1, 129
REPEATED, RESTORED, SCORED, ANOMALY = 1, 2, 4, 8


@dataclass(frozen=True, slots=True)
class ObserveFrame:
    """A request: values and covariates (T, 1 + K), the expected position, the client's own number."""

    steps: NDArray[np.float32]
    position: int | None
    number: int
    wants_scores: bool


def read_observe(frame: bytes) -> ObserveFrame:
    """Read a request.

    Raises:
        BadRequest: not such a frame, or not all of one.
        InputMismatch: a number that is infinite or too large to compute with.
    """
    if len(frame) < HEADER.size:
        raise BadRequest(f"frame: expected at least the header's {HEADER.size} bytes, got {len(frame)}")
    magic, version, operation, count, columns, flags, number, position, reserved = HEADER.unpack_from(frame)
    if magic != MAGIC or version != VERSION:
        raise BadRequest(
            f"frame: expected to begin with the bytes {MAGIC.hex(' ')} ({MAGIC.decode()}) and version {VERSION}, got "
            f"{magic.hex(' ')} and {version}"
        )
    if operation != OBSERVE or flags not in (0, SCORED) or reserved:
        raise BadRequest(
            f"frame: expected operation {OBSERVE} (observe), flags 0 or {SCORED} (scores) and bytes 24–31 zero, "
            f"got {operation}, {flags} and {reserved}"
        )
    if not count or not columns:
        raise BadRequest(f"frame: expected at least one step of one number, got {count} steps of {columns} numbers")
    size = HEADER.size + 4 * count * columns
    if len(frame) != size:
        raise BadRequest(f"frame: expected {size} bytes for {count} steps of {columns} numbers, got {len(frame)}")
    if position < -1:
        raise BadRequest(f"frame: expected a position, or −1 for none, got {position}")
    steps = np.frombuffer(frame, "<f4", offset=HEADER.size).reshape(count, columns)  # (T, 1 + K)
    beyond = np.abs(steps) > LARGEST
    if beyond.any():
        step, column = np.argwhere(beyond)[0].tolist()
        raise InputMismatch(
            f"frame: expected NaN or numbers of at most {LARGEST:g} in size, got {steps[step, column]:g} "
            f"in step {step}, column {column}"
        )
    return ObserveFrame(steps, None if position < 0 else position, number, flags == SCORED)


def length_of(data: bytes, start: int) -> int:
    """Bytes of the frame that begins at `start`, by what its header says.

    Raises:
        struct.error: there is no whole header.
    """
    _, _, _, count, columns, *_ = HEADER.unpack_from(data, start)
    return HEADER.size + 4 * int(count) * int(columns)


def number_of(frame: bytes) -> int | None:
    """The client's own number in a frame that may be broken."""
    return int.from_bytes(frame[12:16], "little") if len(frame) >= 16 else None


def packed(
    quantiles: NDArray[np.float32], pit: NDArray[np.float32], scores: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """What an answer holds of each step, in its order: (…, T, Q + 1) from quantiles (…, T, Q) and pit (…, T).

    (…, T, Q + 2) with scores (…, T).
    """
    columns = [column[..., np.newaxis] for column in (pit, scores) if column is not None]
    return np.concatenate((quantiles, *columns), axis=-1).astype("<f4", copy=False)


def write_packed(
    steps: NDArray[np.float32],
    *,
    position: int,
    durable_position: int,
    number: int,
    repeated: bool = False,
    restored: bool = False,
    scored: bool = False,
    anomaly: bool = False,
) -> bytes:
    """The answer: packed steps (T, Q + 1 or Q + 2) behind their header.

    Args:
        scored: whether the steps end with their scores.
        anomaly: whether one of them reached the threshold.
    """
    count, columns = steps.shape
    flags = REPEATED * repeated | RESTORED * restored | SCORED * scored | ANOMALY * anomaly
    header = HEADER.pack(MAGIC, VERSION, OBSERVED, count, columns, flags, number, position, durable_position)
    return header + steps.tobytes()
