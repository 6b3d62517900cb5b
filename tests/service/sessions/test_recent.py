from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from service.sessions.recent import WINDOW, recent_after, recent_tokens

TOKENS = st.lists(st.integers(0, 2**32 - 1), max_size=3 * WINDOW)


@given(st.lists(TOKENS, max_size=5))
def test_a_window_holds_the_last_tokens_however_they_came(parts: list[list[int]]) -> None:
    recent = b""
    for part in parts:
        recent = recent_after(recent, part)
    assert recent_tokens(recent) == [token for part in parts for token in part][-WINDOW:]
    assert len(recent) <= 4 * WINDOW
