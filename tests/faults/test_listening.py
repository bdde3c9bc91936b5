"""Workers with listeners of their own: what waits in the queue of one that is dead or stopped, and what they cost."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGTERM

import pytest

from harness import processes
from harness.conformance.connection import Connection
from harness.conformance.listen_mode import TWO, held, listeners
from harness.conformance.subject import Subject
from harness.conformance.worker import expect_workers, status_of, suspend, wait_signal_taken
from harness.registry import Implementation, find
from harness.servers import REQUEST, Server
from tests.faults.broken import SERVES, broken, without_processes_while

WITHIN_S = 5.0
ENDS_WITHIN_S = 15.0
SEVERAL, MANY = 8, 64
"""Of so many connections each of two workers gets some: the kernel chooses by a hash of their ports."""
TRIES = 4
OPEN_FILES = 60
CAP_SYS_RESOURCE = 24
NOBODY = "nobody"


@dataclass
class Dead:
    """A server of which one worker is dead, and none can be started in its place while there is a file."""

    subject: Subject
    server: Server
    spared: int
    tries: Path

    def queue(self) -> int:
        """Count those who wait for the dead worker."""
        return sum(one.receive_queue for one in listeners(self.server.listen[0])) - waiting_for(
            self.server, self.spared
        )


def waiting_for(server: Server, pid: int) -> int:
    return sum(one.receive_queue for one in held(server, server.listen[0])[pid])


def answered(clients: list[Connection]) -> int:
    return sum(client.unread() > 0 for client in clients)


def some_clients(subject: Subject, server: Server, count: int) -> list[Connection]:
    clients = [subject.connect(server.listen[0]) for _ in range(count)]
    for client in clients:
        client.send(REQUEST)
    return clients


@contextmanager
def dead(folder: Path, mode: str) -> Iterator[Dead]:
    tries = folder / "tries"
    with Subject(without_processes_while(tries), (), folder, None) as subject:
        server = subject.start([*TWO, "--listen", mode, "--grace", "30"])
        victim, spared = expect_workers(subject, server, 2)
        tries.touch()
        os.kill(victim, SIGKILL)
        assert processes.wait_until(lambda: tries.stat().st_size > 0, WITHIN_S)
        assert processes.wait_until(lambda: len(held(server, server.listen[0])[spared]) == 1, WITHIN_S)
        yield Dead(subject, server, spared, tries)


def clients_until_one_waits(dead: Dead) -> list[Connection]:
    clients: list[Connection] = []
    while not dead.queue() and len(clients) < MANY:
        clients.append(dead.subject.connect(dead.server.listen[0]))
        clients[-1].send(REQUEST)
        assert clients[-1].wait_arrived(WITHIN_S)
    assert dead.queue()
    return clients


def expect_replies(clients: list[Connection]) -> None:
    for client in clients:
        client.receive_reply("a reply to who waited for a worker")


def test_no_worker_can_be_started_for_a_queue_of_its_own__who_waits_in_it_is_served_when_one_can(
    tmp_path: Path,
) -> None:
    with dead(tmp_path, "reuseport") as one:
        clients = clients_until_one_waits(one)
        one.tries.unlink()
        expect_replies(clients)
        assert one.server.stop() == 0


def test_sigterm_comes_while_a_worker_with_a_queue_of_its_own_is_dead__who_waits_in_it_is_served_first(
    tmp_path: Path,
) -> None:
    with dead(tmp_path, "reuseport") as one:
        # The next try comes 0.8 s after this one.
        assert processes.wait_until(lambda: one.tries.stat().st_size >= TRIES, ENDS_WITHIN_S)
        clients = clients_until_one_waits(one)
        one.tries.unlink()
        one.server.send_signal(SIGTERM)
        expect_replies(clients)
        assert one.server.wait_ended(ENDS_WITHIN_S)
        assert one.server.stop() == 0


def test_sigterm_comes_and_no_worker_can_be_started_for_who_waits__a_line_says_so_and_the_others_are_served(
    tmp_path: Path,
) -> None:
    with dead(tmp_path, "reuseport") as one:
        suspend(one.spared)
        clients = some_clients(one.subject, one.server, MANY)
        assert processes.wait_until(lambda: one.queue() + waiting_for(one.server, one.spared) == MANY, WITHIN_S)
        lost = one.queue()
        one.server.send_signal(SIGTERM)
        os.kill(one.spared, SIGCONT)
        assert one.server.wait_ended(ENDS_WITHIN_S)
        assert one.server.stop() == 0
        # Process ids may have begun anew between the two workers.
        told = one.server.last_words()
        assert re.search("nobody could be started for those who wait for worker [01]: Resource", told), told
        assert 0 < answered(clients) == MANY - lost < MANY


def test_the_only_worker_is_killed_after_sigterm__another_serves_who_waited_and_then_nobody_listens(
    tmp_path: Path,
) -> None:
    with Subject(find("epoll_raw")[0], (), tmp_path, None) as subject:
        server = subject.start(["-w", "1", "--grace", "30"])
        [worker] = expect_workers(subject, server, 1)
        suspend(worker)
        silent = subject.connect(server.listen[0])
        clients = some_clients(subject, server, SEVERAL)
        server.send_signal(SIGTERM)
        assert wait_signal_taken(server.pid, SIGTERM, WITHIN_S)
        os.kill(worker, SIGKILL)
        expect_replies(clients)
        assert processes.wait_until(lambda: not listeners(server.listen[0]), WITHIN_S)
        silent.send(REQUEST)
        expect_replies([silent])
        assert server.wait_ended(ENDS_WITHIN_S)
        assert server.stop() == 0


def test_a_worker_with_a_queue_of_its_own_is_stopped__others_serve_theirs_and_it_serves_its_own_when_it_goes_on(
    impl: Implementation, tmp_path: Path
) -> None:
    with Subject(impl, (), tmp_path, None) as subject:
        server = subject.start([*TWO, "--listen", "reuseport"])
        stopped, other = expect_workers(subject, server, 2)
        assert processes.wait_until(
            lambda: [len(held(server, server.listen[0])[pid]) for pid in (stopped, other)] == [1, 1], WITHIN_S
        )
        suspend(stopped)
        clients = some_clients(subject, server, MANY)
        assert processes.wait_until(lambda: answered(clients) + waiting_for(server, stopped) == MANY, WITHIN_S)
        assert 0 < answered(clients) < MANY
        os.kill(stopped, SIGCONT)
        expect_replies(clients)


@pytest.mark.skipif(os.geteuid() != 0, reason="it takes root to become another user")
def test_a_worker_with_a_queue_of_its_own_is_killed_after_privileges_were_given_up__another_serves_its_queue(
    tmp_path: Path,
) -> None:
    with Subject(find("epoll_raw")[0], (), tmp_path, None) as subject:
        server = subject.start([*TWO, "--listen", "percpu", "--user", NOBODY, "-o", "/dev/null"])
        pids = expect_workers(subject, server, 2)
        for pid in pids:
            os.kill(pid, SIGKILL)
        expect_replies(some_clients(subject, server, SEVERAL))
        assert {status_of(Path(f"/proc/{pid}/status"))["Uid"].split()[0] for pid in server.process_pids()} != {"0"}


@pytest.mark.parametrize("mode", ["shared", "percpu"])
def test_open_files_do_not_suffice_for_all_workers__one_line_says_how_many_it_takes(mode: str, tmp_path: Path) -> None:
    [reference] = find("epoll_raw")
    limiting = ("sh", "-c", f'ulimit -n {OPEN_FILES}; exec "$@"', "sh", *reference.argv)
    with Subject(replace(reference, argv=limiting), (), tmp_path, None) as subject:
        addresses = [subject.reserve() for _ in range(2)]
        flags = ["--oversubscribe", "--listen", mode, "-w"]
        needed = {"shared": 8 + 60 + 2, "percpu": 8 + 30 + 2 * 30}
        workers = {"shared": "60", "percpu": "30"}
        without = partial(subject.run, without_capability=CAP_SYS_RESOURCE)
        without([*flags, workers[mode]], addresses).expect_rejection(f"{needed[mode]} open files")


def test_the_kernel_does_not_take_the_program_that_steers_connections__one_line_says_so(tmp_path: Path) -> None:
    unknown = "from impls import steering; steering.program = lambda cpus: [(0xFFFF, 0, 0, 0)]\n"
    with Subject(broken(SERVES, unknown), (), tmp_path, None) as subject:
        rejected = subject.run([*TWO, "--listen", "percpu"], [subject.reserve()])
        rejected.expect_rejection("--listen percpu")
        assert "Invalid argument; give --listen reuseport" in rejected.stderr[0]
