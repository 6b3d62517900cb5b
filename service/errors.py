"""Our exceptions: what went wrong, with a code and a message, and nothing of any protocol.

    UnrollError                                 carries code and message     HTTP · WebSocket close
    ├─ BadRequest                               not readable at all           400 · 1007
    ├─ NotAuthenticated                         no API key, or an unknown one 401 · 4401
    ├─ NotAllowed                               a key without that right      403 · 4403
    ├─ ModelNotFound, SessionNotFound           nothing of that name          404 · 4404
    ├─ CheckpointNotFound                       the session has none so named 404 · 4404
    ├─ PositionConflict, SessionExists          another state than expected   409 · 4409
    ├─ VersionGone                              its model is not here         409 · 4409
    ├─ SessionExpired                           lived, and is over            410 · 4410
    ├─ RequestTooLarge                          past a documented bound       413 · 1009
    ├─ InputMismatch                            readable, but does not fit    422 · 1007
    ├─ Overloaded                               no room now                   429 · 1013   (carries when to retry)
    │  └─ RateLimited                           the key has had its share     429 · 1013
    ├─ Cancelled                                the client went away          499 · 1001
    ├─ StepFailed                               a graph run failed            500 · 1011
    ├─ JournalDamaged                           what is stored is not whole   500 · 1011
    ├─ JournalUnavailable                       nothing can be stored now     503 · 1013   (carries when to retry)
    │  └─ SessionMoved                          another replica was faster    503 · 1013
    └─ ShuttingDown                             not now                       503 · 1013

    ManifestError (service.contract.manifest) keeps a model version out and never reaches a client.
    JournalError (service.journal.location) says why a journal cannot be used; readiness tells it.

Each protocol renders these in its own shape; the message says what was expected, what came and what to do.
"""

from __future__ import annotations

from typing import ClassVar


class UnrollError(Exception):
    """Base of everything the service tells a client about. `parameter` names the offending field, if one does."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    close_code: ClassVar[int] = 1011

    def __init__(self, message: str, *, parameter: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.parameter = parameter


class BadRequest(UnrollError):
    """The request cannot be read: broken JSON, a half frame, a wrong content type."""

    code, status, close_code = "bad_request", 400, 1007


class NotAuthenticated(UnrollError):
    """No API key came, or none that is known."""

    code, status, close_code = "invalid_api_key", 401, 4401


class NotAllowed(UnrollError):
    """The API key is known, and does not have the right to that."""

    code, status, close_code = "not_allowed", 403, 4403


class ModelNotFound(UnrollError):
    """No model, or no version of it, by that name."""

    code, status, close_code = "model_not_found", 404, 4404


class SessionNotFound(UnrollError):
    """No session by that id."""

    code, status, close_code = "session_not_found", 404, 4404


class CheckpointNotFound(UnrollError):
    """The session has no checkpoint by that name."""

    code, status, close_code = "checkpoint_not_found", 404, 4404


class PositionConflict(UnrollError):
    """The session is not where the client expects it, or the same step came with another content."""

    code, status, close_code = "position_conflict", 409, 4409

    def __init__(self, message: str, *, position: int, durable_position: int, nearest: int | None = None) -> None:
        super().__init__(message, parameter="position")
        self.position = position
        self.durable_position = durable_position
        self.nearest = nearest
        """To an earlier position that was asked for and is not kept: one that is."""


class SessionExists(UnrollError):
    """A session by that id is already open."""

    code, status, close_code = "session_exists", 409, 4409


class VersionGone(UnrollError):
    """The session's state is kept, but the model version that it belongs to is not served here."""

    code, status, close_code = "version_gone", 409, 4409


class SessionExpired(UnrollError):
    """The session was idle for longer than its time to live."""

    code, status, close_code = "session_expired", 410, 4410


class RequestTooLarge(UnrollError):
    """A body, an input or an answer beyond a documented bound."""

    code, status, close_code = "request_too_large", 413, 1009


class InputMismatch(UnrollError):
    """Readable, but not what the model takes: a name, a shape, a length, a value."""

    code, status, close_code = "input_mismatch", 422, 1007


class Overloaded(UnrollError):
    """A bounded queue or table is full; nothing was done."""

    code, status, close_code = "overloaded", 429, 1013

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RateLimited(Overloaded):
    """The API key has had what it may have for now; nothing was done."""

    code = "rate_limited"


class Cancelled(UnrollError):
    """The client went away before the transition was committed; the session did not move further."""

    code, status, close_code = "cancelled", 499, 1001


class StepFailed(UnrollError):
    """A graph run failed; no state was changed."""

    code, status, close_code = "step_failed", 500, 1011


class JournalDamaged(UnrollError):
    """What the journal holds was changed, cut short or mixed up; nothing was overwritten."""

    code, status, close_code = "journal_damaged", 500, 1011


class JournalUnavailable(UnrollError):
    """The journal cannot be reached or written: nothing may be acknowledged, and what was sent may be asked again."""

    code, status, close_code = "journal_unavailable", 503, 1013

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class SessionMoved(JournalUnavailable):
    """Another replica moved the session during the step, which was not applied; mostly it is run again unseen."""

    code = "session_moved"


class ShuttingDown(UnrollError):
    """The service is stopping and takes nothing new."""

    code, status, close_code = "shutting_down", 503, 1013

    def __init__(
        self, message: str = "the service is shutting down: try again at another replica or in a moment"
    ) -> None:
        super().__init__(message)
