from __future__ import annotations

from contextvars import copy_context

import pytest

from service.access.caller import ANYONE, Caller, Right, caller, own, require
from service.errors import NotAllowed


def test_what_nobody_has_set_is_an_error_and_no_caller() -> None:
    def ask() -> None:
        with pytest.raises(LookupError):
            own("a")
        with pytest.raises(LookupError):
            require("predict")

    copy_context().run(ask)


def test_a_caller_owns_sessions_only_with_the_right_to() -> None:
    assert Caller("a", frozenset({"sessions"})).own("x") == "a/x"
    assert ANYONE.own("x") == "x"
    without: list[frozenset[Right]] = [frozenset(), frozenset({"predict", "admin"})]
    for rights in without:
        with pytest.raises(NotAllowed, match="sessions"):
            Caller("a", rights).own("x")


def test_the_present_caller_is_asked() -> None:
    def ask() -> None:
        caller.set(Caller("a", frozenset({"sessions"})))
        assert own("x") == "a/x"
        require("sessions")
        with pytest.raises(NotAllowed):
            require("admin")

    copy_context().run(ask)
