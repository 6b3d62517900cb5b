"""Which server holds which session: one for all, or a cluster's by hash slot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from threading import Lock

from valkey.crc import key_slot
from valkey.exceptions import ResponseError

from service.errors import JournalUnavailable
from service.journal.valkey_node import Node, OutcomeUnknown, Refused, Reply, Server, command

_MULTI, _EXEC = command(b"MULTI"), command(b"EXEC")
_MOVES = 5
"""How often one call may be sent on to where a session has moved while a cluster is being rearranged."""


class Servers:
    """One server, or all primaries of a cluster. Methods may be called from any thread.

    Args:
        cluster: whether `first` is a member of a cluster, which tells the others.
    """

    def __init__(self, first: Server, *, cluster: bool) -> None:
        self._first = Node(first)
        self._cluster = cluster
        self._nodes: dict[tuple[str, int], Node] = {}
        self._by_slot: list[Node] = []
        self._lock = Lock()

    def ask_one(self, number: int, *arguments: bytes) -> Reply:
        """The answer of one of the servers that hold sessions, in a fixed order; None where there are not so many.

        Raises:
            JournalUnavailable: it does not answer.
            Refused: it does not do what it is asked.
        """
        with self._lock:
            nodes = self._primaries()
            return nodes[number].ask(*arguments) if number < len(nodes) else None

    def _primaries(self) -> list[Node]:
        if not self._cluster:
            return [self._first]
        self._know_slots()
        return sorted(set(self._by_slot), key=lambda node: (node.server.host, node.server.port))

    def ask_each(self, commands: Mapping[bytes, bytes], wait: bytes = b"") -> tuple[dict[bytes, Reply], list[Reply]]:
        """The replies to one command for each key, by key; all servers are asked at once.

        Args:
            wait: a command to send to each server after the others; its replies come second.

        Raises:
            JournalUnavailable: a server cannot be reached, or a cluster is not whole.
            OutcomeUnknown: commands were sent, and not all answers came.
        """
        with self._lock:
            replies: dict[bytes, Reply] = {}
            waited: list[Reply] = []
            left = dict(commands)
            for _ in range(_MOVES):
                self._ask(left, wait, replies, waited)
                self._ask_where_they_are_going(commands, replies)
                left = {key: commands[key] for key in left if _says(replies[key], "MOVED")}
                if not left:
                    return replies, waited
                self._follow({key: replies[key] for key in left})
            raise JournalUnavailable("the journal's cluster is being rearranged: sessions keep moving")

    def close(self) -> None:
        """Let go of all connections."""
        with self._lock:
            for node in (self._first, *self._nodes.values()):
                node.disconnect()

    def _ask(
        self, commands: Mapping[bytes, bytes], wait: bytes, replies: dict[bytes, Reply], waited: list[Reply]
    ) -> None:
        by_node: dict[Node, list[bytes]] = {}
        for key in commands:
            by_node.setdefault(self._node_of(key), []).append(key)
        sent: list[Node] = []
        failures: list[JournalUnavailable | OutcomeUnknown] = []
        for node, keys in by_node.items():
            try:
                node.send([*self._as_one([commands[key] for key in keys]), *([wait] if wait else [])])
                sent.append(node)
            except (JournalUnavailable, OutcomeUnknown) as error:
                failures.append(error)
        for node in sent:
            try:
                waited += self._receive(node, by_node[node], replies, bool(wait))
            except OutcomeUnknown as error:
                failures.append(error)
        if failures:
            self._by_slot = []
            # Where any server was sent something, that is what has to be looked into.
            raise next((error for error in failures if isinstance(error, OutcomeUnknown)), failures[0])

    def _as_one(self, commands: Sequence[bytes]) -> Sequence[bytes]:
        """The commands for one server; as one transaction, which it writes to its disk at once, where it allows that.

        In a cluster a transaction must keep to one hash slot.
        """
        return commands if self._cluster or len(commands) == 1 else [_MULTI, *commands, _EXEC]

    def _receive(self, node: Node, keys: Sequence[bytes], replies: dict[bytes, Reply], waits: bool) -> list[Reply]:
        """Take in the replies to what `_as_one` gave, and return those that come after them."""
        if self._cluster or len(keys) == 1:
            answers = node.receive(len(keys) + waits)
            replies.update(zip(keys, answers[: len(keys)], strict=True))
            return answers[len(keys) :]
        _, *queued, done = node.receive(1 + len(keys) + 1)
        for number, key in enumerate(keys):
            # A transaction that is refused as a whole was so because of one command, which says why.
            replies[key] = (queued if isinstance(done, ResponseError) else done)[number]
        if isinstance(done, ResponseError) and not any(isinstance(reply, ResponseError) for reply in queued):
            replies.update(dict.fromkeys(keys, done))
        return node.receive(waits)

    def _node_of(self, key: bytes) -> Node:
        if not self._cluster:
            return self._first
        self._know_slots()
        return self._by_slot[key_slot(key)]

    def _know_slots(self) -> None:
        if self._by_slot:
            return
        slots: list[Node | None] = [None] * 16384
        for start, end, (host, port, *_), *_ in self._ask_anyone(b"CLUSTER", b"SLOTS"):
            node = self._node_at(host.decode() or self._first.server.host, port)
            slots[start : end + 1] = [node] * (end + 1 - start)
        known = [node for node in slots if node is not None]
        if len(known) < len(slots):
            raise JournalUnavailable("the journal's cluster does not cover all hash slots yet")
        self._by_slot = known

    def _ask_anyone(self, *arguments: bytes) -> Reply:
        """The answer of the first server that gives one."""
        failures: list[JournalUnavailable | Refused] = []
        for node in (self._first, *self._nodes.values()):
            try:
                return node.ask(*arguments)
            except (JournalUnavailable, Refused) as error:
                failures.append(error)
        raise failures[0]

    def _node_at(self, host: str, port: int) -> Node:
        if (host, port) not in self._nodes:
            self._nodes[host, port] = Node(replace(self._first.server, host=host, port=port))
        return self._nodes[host, port]

    def _ask_where_they_are_going(self, commands: Mapping[bytes, bytes], replies: dict[bytes, Reply]) -> None:
        """Ask again, once, for sessions that are being moved and have left already."""
        for key, reply in replies.items():
            if _says(reply, "ASK"):
                node = self._named_in(reply)
                replies[key] = node.ask_all([command(b"ASKING"), commands[key]])[1]

    def _follow(self, refusals: Mapping[bytes, Reply]) -> None:
        """Learn from refusals where sessions have moved for good."""
        self._by_slot = []
        self._know_slots()
        for key, refusal in refusals.items():
            self._by_slot[key_slot(key)] = self._named_in(refusal)

    def _named_in(self, refusal: Reply) -> Node:
        """The server in `MOVED slot host:port` or `ASK slot host:port`."""
        host, _, port = str(refusal).split(" ")[2].rpartition(":")
        return self._node_at(host or self._first.server.host, int(port))


def _says(reply: Reply, word: str) -> bool:
    return isinstance(reply, ResponseError) and str(reply).startswith(word + " ")
