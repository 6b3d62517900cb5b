from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from service.sessions.ownership import EVERYONES, SESSION_ID, SessionKey, Whose, owner_of, public_id, session_key

OWNERS = st.none() | st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,5}", fullmatch=True)
IDS = st.text(max_size=12) | st.text("ab/.", max_size=6)


@given(OWNERS, IDS)
def test_a_name_gives_back_its_owner_and_id(owner: str | None, session_id: str) -> None:
    key = session_key(owner, session_id)
    assert (owner_of(key), public_id(key)) == (owner, session_id)


@given(OWNERS, IDS, OWNERS, IDS)
def test_no_id_reaches_into_another_owners_names(one: str | None, its: str, other: str | None, others: str) -> None:
    assert (session_key(one, its) == session_key(other, others)) == ((one, its) == (other, others))


@given(OWNERS, IDS, OWNERS)
def test_whose_a_session_is_is_told_by_its_name(owner: str | None, session_id: str, other: str | None) -> None:
    key = session_key(owner, session_id)
    assert Whose(other).include(key) == (owner == other) and EVERYONES.include(key)
    if SESSION_ID.fullmatch(session_id):
        assert not Whose(other).include(key) or key.startswith(Whose(other).prefix)


def test_what_was_opened_before_keys_were_asked_for_is_nobodys() -> None:
    key = SessionKey("pump:42")
    assert owner_of(key) is None and public_id(key) == "pump:42" and session_key(None, "pump:42") == key
