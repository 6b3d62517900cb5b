from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import JournalDamaged
from service.journal.stored import Stored, pack, unpack, with_expiry

STORED = Stored("a", 7, 41, 1.75e9, b"row " * 20, b"record")

any_stored = st.builds(
    Stored,
    st.text(max_size=130),
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**63 - 1),
    st.floats(0, 1e12) | st.just(math.inf),
    st.binary(max_size=100),
    st.binary(max_size=100),
)


@given(any_stored)
def test_what_was_packed_comes_back(stored: Stored) -> None:
    assert unpack(pack(stored), stored.session_id) == unpack(pack(stored)) == stored


@given(any_stored, st.floats(0, 1e12))
def test_the_expiry_can_be_changed_alone(stored: Stored, expires: float) -> None:
    assert unpack(with_expiry(pack(stored), expires)) == stored._replace(expires=expires)


@given(st.data())
def test_no_byte_can_change_unnoticed(data: st.DataObject) -> None:
    packed = bytearray(pack(STORED))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(JournalDamaged, match="session a: "):
        unpack(bytes(packed), "a")


@given(st.integers(0, len(pack(STORED)) - 1))
def test_no_part_is_an_entry(length: int) -> None:
    with pytest.raises(JournalDamaged):
        unpack(pack(STORED)[:length])


def test_an_entry_of_another_session_is_not_handed_out() -> None:
    with pytest.raises(JournalDamaged, match="session b: what is stored there is session a"):
        unpack(pack(STORED), "b")
