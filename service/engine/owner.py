"""Whose work it is: the engine shares itself out among owners, and knows nothing of them but that they differ."""

from __future__ import annotations

from contextvars import ContextVar

working_for: ContextVar[str | None] = ContextVar("working_for", default=None)
"""For whom jobs are made now, where a session does not say; set where a request enters."""
