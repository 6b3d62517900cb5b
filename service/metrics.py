"""Prometheus metrics of one process: small hooks that the engine, the store and the protocols call.

Each `Metrics` has its own registry, so several applications can live in one process (as tests do).
"""

from __future__ import annotations

from functools import cache
from typing import Any

from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from service.pit_counts import PitCounts
from service.request_counts import RequestCounts
from service.run_counts import RunCounts

_SECONDS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_RUN_SECONDS = (2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """Counts and durations under the names `unroll_*`; `render()` gives the text Prometheus reads."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        # Finding a series by its labels costs more than counting in it, and this is done at every step and session.
        self._of = cache(_series)
        self._requests = RequestCounts(_SECONDS)
        self.registry.register(self._requests)
        self._runs = RunCounts(_RUN_SECONDS, _ROWS)
        self.registry.register(self._runs)
        self._pits = PitCounts()
        self.registry.register(self._pits)
        self._anomalies = self._counter(
            "anomalies", "Observed values whose anomaly score reached their session's threshold.", "model"
        )
        self._failures = self._counter("run_failures", "Graph runs that failed.", "model", "graph")
        self._tokens = self._counter("tokens", "Tokens taken in and generated.", "model", "direction")
        self._prefixes = self._counter("prefix_cache_tokens", "Prompt tokens found read, or not.", "model", "result")
        self._queue = self._gauge("queue_depth", "Jobs waiting for the engine.", "model")
        self._rejected = self._counter("rejected", "Requests refused because a queue was full.", "model")
        self._shed = self._counter("shed", "Requests refused unread because the event loop was behind.")
        self._sessions = self._gauge("sessions", "Sessions in memory.", "model")
        self._session_events = self._counter("session_events", "What happened to sessions.", "model", "event")
        self._evictions = self._counter("evictions", "Rows that left memory.", "model", "reason")
        self._state_bytes = self._gauge("state_bytes", "Memory of the rows in the state table.", "model")
        self._connections = self._gauge("websocket_connections", "Open WebSocket connections.")
        self._open_connections = self._gauge("connections", "Open connections, those that are being refused included.")
        self._refused_connections = self._counter("connections_refused", "Connections past the most that may be open.")
        self._slow_clients = self._counter("slow_clients", "Clients that were waited for no longer.", "what")
        self._limited = self._counter("limited", "Requests refused as their API key has had its share.", "what")
        self._commits = self._counter("journal_commits", "Commits of the journal, each of many entries.")
        self._commit_seconds = Histogram(
            "unroll_journal_commit_seconds", "Duration of one commit.", buckets=_SECONDS, registry=self.registry
        )
        self._commit_entries = Histogram(
            "unroll_journal_commit_entries", "Entries committed together.", buckets=_ROWS, registry=self.registry
        )
        self._entries = self._counter("journal_entries", "What became of entries.", "outcome")
        self._lag = self._gauge("journal_lag_seconds", "Age of the oldest entry that is not stored yet.")
        self._lag_entries = self._gauge("journal_lag_submissions", "What waits to be stored.")
        self._ready = self._gauge("models_ready", "Model versions that serve.")
        self._not_ready = self._gauge("models_rejected", "Model versions kept out.")

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"unroll_{name}", meaning, labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"unroll_{name}", meaning, labels, registry=self.registry)

    def on_request(self, route: str, method: str, status: int, seconds: float) -> None:
        """An answer was sent; `route` is the path's template, so that ids make no new series."""
        self._requests.count(route, method, status, seconds)

    def on_run(self, model: str, graph: str, rows: int, steps: int, seconds: float) -> None:
        """A graph ran over `rows` sessions, `steps` steps in all."""
        self._runs.count(model, graph, rows, steps, seconds)

    def on_pit(self, model: str, pit: NDArray[Any]) -> None:
        """Values were observed; `pit` tells where each fell in what was predicted of it, NaN where nothing was."""
        self._pits.note(model, pit)

    def on_anomalies(self, model: str, count: int) -> None:
        """So many values that sessions took in reached their threshold."""
        self._of(self._anomalies, model).inc(count)

    def on_run_failed(self, model: str, graph: str) -> None:
        """A graph run failed; no state was changed."""
        self._of(self._failures, model, graph).inc()

    def on_tokens(self, model: str, direction: str, count: int) -> None:
        """`count` tokens were taken in (`prompt`) or given out (`completion`)."""
        self._of(self._tokens, model, direction).inc(count)

    def on_prefix(self, model: str, hit: int, missed: int) -> None:
        """So many of a prompt's tokens had been read before, and so many had not."""
        self._of(self._prefixes, model, "hit").inc(hit)
        self._of(self._prefixes, model, "miss").inc(missed)

    def on_queue(self, model: str, depth: int) -> None:
        """The engine's queue is now `depth` jobs long."""
        self._of(self._queue, model).set(depth)

    def on_rejected(self, model: str) -> None:
        """A request was refused because a bound was reached."""
        self._of(self._rejected, model).inc()

    def on_shed(self) -> None:
        """A request was refused because the event loop was behind."""
        self._shed.inc()

    def on_session(self, model: str, event: str) -> None:
        """A session was `opened`, `forked`, `restored`, `migrated`, `closed` or `expired`, or has `left` memory."""
        self._of(self._session_events, model, event).inc()
        self._of(self._sessions, model).inc(1 if event in ("opened", "forked", "restored", "migrated") else -1)

    def on_commit(self, entries: int, refused: int, seconds: float) -> None:
        """The journal decided about so many entries at once, and refused some because other replicas were faster."""
        self._commits.inc()
        self._commit_seconds.observe(seconds)
        self._commit_entries.observe(entries)
        self._of(self._entries, "stored").inc(entries - refused)
        if refused:
            self._of(self._entries, "refused").inc(refused)

    def on_commit_failed(self, entries: int) -> None:
        """It is not known what became of so many entries."""
        self._of(self._entries, "unknown").inc(entries)

    def on_lag(self, waiting: int, seconds: float) -> None:
        """So much waits to be stored, the oldest for so long."""
        self._lag_entries.set(waiting)
        self._lag.set(seconds)

    def on_eviction(self, model: str, reason: str) -> None:
        """A row left memory because of `pressure` (its session lives), or as its session was `closed` or `expired`."""
        self._of(self._evictions, model, reason).inc()

    def on_state_bytes(self, model: str, count: int) -> None:
        """The rows in a model's state table now take `count` bytes."""
        self._of(self._state_bytes, model).set(count)

    def on_connections(self, change: int) -> None:
        """A WebSocket connection was opened (+1) or closed (−1)."""
        self._connections.inc(change)

    def on_open_connections(self, count: int) -> None:
        """So many connections are open now."""
        self._open_connections.set(count)

    def on_refused_connection(self) -> None:
        """One more connection came than may be open."""
        self._refused_connections.inc()

    def on_slow_client(self, what: str) -> None:
        """A client was too slow with a request's `head` or `body` or a `frame`, left answers `unread`, or an `answer`
        took too long."""
        self._of(self._slow_clients, what).inc()

    def on_limited(self, what: str) -> None:
        """A request was refused as its API key has had its `requests`, `steps`, `sessions` or `streams`."""
        self._of(self._limited, what).inc()

    def on_models(self, ready: int, rejected: int) -> None:
        """So many model versions serve, and so many are kept out."""
        self._ready.set(ready)
        self._not_ready.set(rejected)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)


def _series(metric: Any, *labels: str) -> Any:
    return metric.labels(*labels)
