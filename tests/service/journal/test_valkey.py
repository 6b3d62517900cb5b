"""The journal on a server: shared by replicas, and what happens while the server is slow, paused, restarted or gone."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service.errors import InputMismatch, JournalDamaged, JournalUnavailable
from service.journal import Journal, clock
from service.journal.location import open_journal
from service.journal.valkey import PAUSE_SECONDS
from tests.service.journal.entries import EPOCH, RECORDS, opening, step
from tests.service.journal.killing import require_nothing_lost
from tests.service.journal.servers import TestServer, running_cluster, running_server, wait_until


def replica(server: TestServer, options: str = "timeout_ms=300") -> Journal:
    """The journal as one more replica of the service sees it."""
    return open_journal(f"{server.location}?{options}", RECORDS)


@pytest.fixture
def journal(server: TestServer) -> Iterator[Journal]:
    journal = replica(server)
    yield journal
    journal.close()


def test_it_is_durable_and_shared(journal: Journal) -> None:
    assert journal.durable and journal.shared and journal.trouble is None


# Replicas.


def test_what_one_replica_commits_another_goes_on_from(server: TestServer, journal: Journal) -> None:
    other = replica(server)
    journal.commit([opening("a")])
    assert not other.commit([step("a", 1)])
    assert journal.commit([step("a", 1)]) == {"a"}
    assert (found := journal.load("a")) and found.position == 1
    assert not journal.commit([step("a", 2)])
    other.close()


def test_of_two_replicas_that_commit_the_same_step_at_once_one_succeeds(server: TestServer) -> None:
    replicas = [replica(server) for _ in range(2)]
    names = [f"s{number}" for number in range(20)]
    replicas[0].commit([opening(name) for name in names])
    with ThreadPoolExecutor(2) as pool:
        for position in range(1, 30):
            rows = [f"replica {number} at {position}".encode() for number in range(2)]
            one, two = pool.map(
                lambda number, rows=rows, position=position: replicas[number].commit(
                    [step(name, position, rows[number]) for name in names]
                ),
                range(2),
            )
            assert one | two == set(names) and not one & two
            for name in names:
                assert (found := replicas[0].load(name)) and found.row == rows[name in one]
    for one_replica in replicas:
        one_replica.close()


def test_replicas_share_a_secret(server: TestServer, journal: Journal) -> None:
    other = replica(server)
    assert journal.secret("snapshots") == other.secret("snapshots")
    other.close()


def test_nothing_acknowledged_is_lost_when_a_replica_is_killed(server: TestServer) -> None:
    location = f"{server.location}?timeout_ms=2000"
    assert require_nothing_lost(location, kills=5) > 50


def test_a_key_that_holds_something_else_is_not_taken_for_a_session(server: TestServer, journal: Journal) -> None:
    journal.commit([opening("a")])
    server.ask("SETRANGE", "unroll:session:a", "120", "zzzz")
    with pytest.raises(JournalDamaged, match="session a: what is stored was changed"):
        journal.load("a")
    server.ask("SET", "unroll:session:b", "something")
    with pytest.raises(JournalDamaged, match="cut short"):
        journal.load("b")
    assert journal.trouble is None


def test_a_list_goes_on_only_from_where_a_page_ended(journal: Journal) -> None:
    with pytest.raises(InputMismatch, match="after: expected what the page before gave"):
        journal.page("session-7", 10)
    assert journal.page("7-0", 10) == ([], "")


def test_the_server_forgets_expired_sessions_by_itself(server: TestServer, journal: Journal) -> None:
    journal.commit([opening("a", lives_s=60)])
    life = int(server.ask("TTL", "unroll:session:a").removeprefix(":"))
    assert 3600 < life <= 3661
    journal.extend({"a": clock.now() + 600})
    assert int(server.ask("TTL", "unroll:session:a").removeprefix(":")) > life + 500


# The server is not well.


def test_a_server_that_comes_later_than_the_service_is_waited_for(tmp_path: Path) -> None:
    with running_server(tmp_path / "later") as server:
        server.kill()
        journal = replica(server)
        assert journal.trouble is None
        with pytest.raises(JournalUnavailable, match=r"the journal at 127.0.0.1:\d+ cannot be reached") as unavailable:
            journal.load("a")
        assert unavailable.value.retry_after_s > 0 and journal.trouble is not None
        server.start()
        require_recovers(journal)
        assert not journal.commit([opening("a")])
        journal.close()


def test_a_server_that_is_gone_is_told_at_once_after_the_first_failure(server: TestServer, journal: Journal) -> None:
    journal.commit([opening("a")])
    server.kill()
    with pytest.raises(JournalUnavailable):
        journal.commit([step("a", 1)])
    before = time.monotonic()
    for _ in range(50):
        with pytest.raises(JournalUnavailable):
            journal.commit([step("a", 1)])
    assert time.monotonic() - before < PAUSE_SECONDS


def test_what_was_acknowledged_is_there_after_the_server_was_killed(server: TestServer, journal: Journal) -> None:
    journal.commit([opening("a")])
    for position in range(1, 7, 2):
        carry_out(journal, "a", position)
        server.kill()
        server.start()
        require_recovers(journal)
        assert (found := journal.load("a")) and found.position == position
        # The scripts went with the server, and are sent again.
        carry_out(journal, "a", position + 1)


def carry_out(journal: Journal, session_id: str, position: int) -> None:
    """One step, as a service takes it: what is refused is loaded again and started over."""
    for _ in range(2):
        found = journal.load(session_id)
        assert found is not None and found.position == position - 1
        if not journal.commit([step(session_id, position, epoch=found.epoch)]):
            return
    raise AssertionError(f"step {position} was refused twice")


def test_waiting_for_a_paused_server_is_bounded_and_nothing_is_applied_twice(
    server: TestServer, journal: Journal
) -> None:
    journal.commit([opening("a"), opening("b")])
    server.pause()
    before = time.monotonic()
    with pytest.raises(JournalUnavailable):
        journal.commit([step("a", 1, b"while paused"), step("b", 1)])
    assert time.monotonic() - before < 2.0
    server.go_on()
    require_recovers(journal)
    # The commit that was on its way may have arrived when the server went on, or not: the journal knows.
    found = journal.load("a")
    assert found is not None and found.position in (0, 1)
    assert not journal.commit([step("a", found.position + 1, epoch=found.epoch)])
    assert (now := journal.load("a")) and now.position == found.position + 1


def test_a_commit_that_was_not_answered_in_time_is_looked_into(server: TestServer, journal: Journal) -> None:
    journal.commit([opening("a")])
    epoch = EPOCH
    with ThreadPoolExecutor(1) as pool:
        for position in range(1, 6):
            server.pause()
            commit = pool.submit(journal.commit, [step("a", position, epoch=epoch)])
            time.sleep(0.45)  # past the time-out of the commit, within that of the look-up
            server.go_on()
            refused = commit.result(10)
            found = journal.load("a")
            assert found is not None
            assert found.position == (position - 1 if refused else position)
            if refused:
                # Said to be so, it stays so: it was given another epoch, which the commit does not expect.
                assert not journal.commit([step("a", position, epoch=found.epoch)])
            epoch = found.epoch


def test_a_commit_that_the_server_holds_back_is_carried_out_or_never_will_be(
    server: TestServer, journal: Journal
) -> None:
    journal.commit([opening("a")])
    # Longer than the time-out of the commit, shorter than that of looking into it: the server drops the commit of a
    # client that has hung up, and then answers what became of it.
    server.ask("CLIENT", "PAUSE", "450", "WRITE")
    assert journal.commit([step("a", 1)]) == {"a"}
    found = journal.load("a")
    assert found is not None and found.position == 0 and found.epoch != EPOCH
    assert journal.commit([step("a", 1)]) == {"a"}
    assert not journal.commit([step("a", 1, epoch=found.epoch)])


def require_recovers(journal: Journal) -> None:
    """By being tended alone, as a service that is not ready and gets no requests."""

    def well() -> bool:
        try:
            journal.tend()
        except JournalUnavailable:
            return False
        return journal.trouble is None

    wait_until(well, "the journal is well again")


# Refusals.


def test_a_server_without_room_is_said(tmp_path: Path) -> None:
    with running_server(tmp_path / "small", "--maxmemory", "3mb", "--maxmemory-policy", "noeviction") as server:
        journal = replica(server)
        journal.commit([opening("a")])
        with pytest.raises(JournalUnavailable, match="the journal's server refuses: .*memory"):
            for number in range(100):
                journal.commit([opening(f"big {number}", b"x" * 100_000)])
        require_recovers(journal)
        assert (found := journal.load("a")) and found.position == 0
        journal.close()


def test_a_wrong_password_is_said_and_not_repeated(tmp_path: Path) -> None:
    with running_server(tmp_path / "guarded") as server:
        server.ask("CONFIG", "SET", "requirepass", "right")
        journal = open_journal(f"valkey://:wrong-secret@127.0.0.1:{server.port}/0", RECORDS)
        with pytest.raises(JournalUnavailable) as refused:
            journal.load("a")
        assert "password" in refused.value.message and "wrong-secret" not in refused.value.message
        journal.close()
        right = open_journal(f"valkey://:right@127.0.0.1:{server.port}/3", RECORDS)
        assert not right.commit([opening("a")])
        right.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--appendonly", "no"), "keeps nothing of the last minutes"),
        (("--appendfsync", "everysec"), "may lose the last moments"),
        (("--maxmemory", "10mb", "--maxmemory-policy", "allkeys-lru"), "throws sessions away"),
        ((), None),
    ],
)
def test_a_server_that_promises_less_than_the_journal_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, options: tuple[str, ...], said: str | None
) -> None:
    with running_server(tmp_path / "weak", *options) as server:
        journal = replica(server)
        for _ in range(3):
            journal.tend()
        journal.close()
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == (said is not None) and (said is None or said in warnings[0])


def test_copies_that_are_wanted_and_not_there_are_said(server: TestServer) -> None:
    journal = replica(server, "copies=1&wait_ms=50")
    with pytest.raises(JournalUnavailable, match="0 copies of the journal have the commit, 1 are wanted"):
        journal.commit([opening("a")])
    # It may be stored; nobody is told so before the copies have it.
    with pytest.raises(JournalUnavailable, match="0 copies"):
        journal.load("a")
    journal.close()


def test_copies_that_are_wanted_are_waited_for(server: TestServer, tmp_path: Path) -> None:
    with running_server(tmp_path / "copy", "--replicaof", "127.0.0.1", str(server.port)) as copy:
        wait_until(lambda: copy.says("INFO", "replication").count("master_link_status:up"), "the copy follows")
        journal = replica(server, "copies=1&wait_ms=5000&timeout_ms=10000")
        assert not journal.commit([opening("a"), opening("b")])
        assert not journal.commit([step("a", 1)])
        journal.close()
        server.kill()
        copy.ask("REPLICAOF", "NO", "ONE")
        after = replica(copy)
        assert (found := after.load("a")) and found.position == 1
        after.close()


# A cluster.


def test_a_cluster_keeps_each_session_on_one_of_its_servers(tmp_path: Path) -> None:
    with running_cluster(tmp_path) as servers:
        journal = replica(servers[1], "cluster=yes&timeout_ms=5000")
        names = [f"s{number}" for number in range(60)]
        assert not journal.commit([opening(name) for name in names])
        assert not journal.commit([step(name, 1) for name in names])
        assert journal.commit([step("s3", 1), step("s4", 2)]) == {"s3"}
        assert all((found := journal.load(name)) and found.position >= 1 for name in names)
        shares = [int(server.ask("DBSIZE").removeprefix(":")) for server in servers]
        assert sum(shares) == 60 and all(shares)
        listed, after = journal.page("", 10)
        while after:
            page, after = journal.page(after, 10)
            listed += page
        assert sorted(one.session_id for one in listed) == sorted(names)
        journal.remove(names[:30])
        assert journal.load("s3") is None and journal.secret("x") == journal.secret("x")
        move_a_slot(servers, journal)
        journal.close()


def move_a_slot(servers: Sequence[TestServer], journal: Journal) -> None:
    """Hand the hash slot of one session to another server while the journal believes it is where it was."""
    slot = servers[0].ask("CLUSTER", "KEYSLOT", "unroll:session:s42").removeprefix(":")
    source = next(server for server in servers if server.ask("EXISTS", "unroll:session:s42") == ":1")
    target = next(server for server in servers if server is not source)
    source_id, target_id = (server.says("CLUSTER", "MYID").split("\r\n")[1] for server in (source, target))
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
    source.ask("MIGRATE", "127.0.0.1", str(target.port), "unroll:session:s42", "0", "5000")
    assert not journal.commit([step("s42", 2), step("s43", 2)])
    for server in servers:
        server.ask("CLUSTER", "SETSLOT", slot, "NODE", target_id)
    assert not journal.commit([step("s42", 3), step("s43", 3)])
    assert (found := journal.load("s42")) and found.position == 3
