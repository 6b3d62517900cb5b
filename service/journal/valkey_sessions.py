"""Sessions as keys of Valkey servers: scripts and commands run on many of them in one round trip, copies waited for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from valkey.exceptions import NoScriptError, ResponseError

from service.journal.valkey_cluster import Servers
from service.journal.valkey_node import OutcomeUnknown, Refused, Reply, Server, command
from service.journal.valkey_scripts import COMMIT, Script


@dataclass(frozen=True)
class ValkeyOptions:
    """How the journal uses its servers.

    Args:
        cluster: whether the server is one of a cluster.
        prefix: of every key.
        copies: replicas of the server that must have a commit before it counts (WAIT); 0 asks none.
        wait_s: how long to wait for them.
    """

    cluster: bool = False
    prefix: str = "unroll:"
    copies: int = 0
    wait_s: float = 1.0


class Sessions:
    """The sessions on a server or a cluster, behind one connection to each server.

    Raises, in all methods:
        Refused: a server refused something, or too few copies have what was written.
        JournalUnavailable: a server cannot be reached, and nothing was sent.
        OutcomeUnknown: something was sent, and not all answers came.
    """

    def __init__(self, server: Server, options: ValkeyOptions) -> None:
        waits = options.wait_s if options.copies else 0.0
        self.servers = Servers(replace(server, timeout_s=server.timeout_s + waits), cluster=options.cluster)
        self._cluster = options.cluster
        self._copies = options.copies
        self._wait = b""
        if options.copies:
            self._wait = command(b"WAIT", b"%d" % options.copies, b"%d" % (options.wait_s * 1000))
        self._prefix = f"{options.prefix}session:"

    def key(self, session_id: str) -> bytes:
        """The key of a session."""
        return f"{self._prefix}{session_id}".encode()

    def id_of(self, key: bytes) -> str:
        """The session of a key."""
        return key.decode().removeprefix(self._prefix)

    def run(self, script: Script, arguments: Mapping[str, Sequence[bytes]]) -> dict[str, Reply]:
        """The script's answer for each session; arguments by session id."""

        def by_name(key: bytes, session_id: str) -> bytes:
            return command(b"EVALSHA", script.name, b"1", key, *arguments[session_id])

        def by_text(key: bytes, session_id: str) -> bytes:
            return command(b"EVAL", script.text, b"1", key, *arguments[session_id])

        replies, copies = self._ask(arguments, by_name)
        unknown = [session_id for session_id, reply in replies.items() if isinstance(reply, NoScriptError)]
        if unknown:
            # The server is new, or was started again.
            more, copies = self._ask(unknown, by_text)
            replies |= more
        self._require(replies.values(), copies)
        return replies

    def commit(self, token: bytes, arguments: Mapping[str, Sequence[bytes]]) -> dict[str, Reply]:
        """STORED or REFUSED for each session; COMMIT's arguments by session id.

        One script for all where there is one server, else one for each: keys of a cluster lie in different hash slots.
        """
        if self._cluster or len(arguments) == 1:
            replies = self.run(COMMIT, {name: (token, *given) for name, given in arguments.items()})
            return {session_id: int(reply) for session_id, reply in replies.items()}
        keys = list(map(self.key, arguments))
        everything = (b"%d" % len(keys), *keys, token, *chain.from_iterable(arguments.values()))
        answers, copies = self.servers.ask_each({keys[0]: command(b"EVALSHA", COMMIT.name, *everything)}, self._wait)
        if isinstance(answers[keys[0]], NoScriptError):
            answers, copies = self.servers.ask_each({keys[0]: command(b"EVAL", COMMIT.text, *everything)}, self._wait)
        self._require(answers.values(), copies)
        return dict(zip(arguments, map(int, answers[keys[0]].decode()), strict=True))

    def read(self, keys: Iterable[bytes], *arguments: bytes) -> dict[bytes, Reply]:
        """The answers to a command that changes nothing: its name, the key, and what follows the key."""
        name, *others = arguments
        commands = {key: command(name, key, *others) for key in keys}
        try:
            replies, _ = self.servers.ask_each(commands)
        except OutcomeUnknown as error:
            if not error.hung_up:
                raise
            replies, _ = self.servers.ask_each(commands)
        self._require(replies.values())
        return replies

    def write(self, keys: Iterable[bytes], *arguments: bytes) -> None:
        """Carry out a command that may be repeated: its name, the key, and what follows the key."""
        name, *others = arguments
        self._require_all(self.servers.ask_each({key: command(name, key, *others) for key in keys}, self._wait))

    def _ask(
        self, session_ids: Iterable[str], packed: Callable[[bytes, str], bytes]
    ) -> tuple[dict[str, Reply], list[Reply]]:
        keys = {self.key(session_id): session_id for session_id in session_ids}
        replies, copies = self.servers.ask_each({key: packed(key, name) for key, name in keys.items()}, self._wait)
        return {keys[key]: reply for key, reply in replies.items()}, copies

    def _require_all(self, answered: tuple[Mapping[bytes, Reply], Sequence[Reply]]) -> None:
        self._require(answered[0].values(), answered[1])

    def _require(self, replies: Iterable[Reply], copies: Sequence[Reply] = ()) -> None:
        for reply in (*replies, *copies):
            if isinstance(reply, ResponseError):
                raise Refused(f"the journal's server refuses: {reply}") from reply
        if any(count < self._copies for count in copies):
            raise Refused(f"{min(copies)} copies of the journal have the commit, {self._copies} are wanted")
