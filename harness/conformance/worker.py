"""What the kernel tells about a server's worker, and how to have one of them alone."""

import itertools
import os
import re
import resource
import signal
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

from harness import processes
from harness.conformance.connection import Connection
from harness.conformance.subject import Subject
from harness.conformance.violation import ContractViolation
from harness.servers import REQUEST, Server

SETTLE_S = 4.0
"""How long workers may take to start and to bind themselves, and one of them to answer."""
_CONNECTIONS = 8
"""Connections at once. With a listener of its own each worker gets those that the kernel chooses by a hash (socket(7),
SO_REUSEPORT), so one of them may get none; then there are as many again."""
_ANOTHER_ROUND_AFTER_S = 0.1
"""After the first; twice as long each time, as a worker that has no CPU for a while needs no more connections."""
_PAGE_BYTES = resource.getpagesize()


def expect_workers(subject: Subject, server: Server, count: int) -> list[int]:
    """See the number of workers settle, and stay the same over an exchange; return their process ids."""
    reached = processes.wait_until(lambda: len(server.worker_pids()) == count, SETTLE_S)
    if reached:
        subject.exchange(server.listen[0])
    pids = server.worker_pids()
    if len(pids) != count:
        raise ContractViolation(f"{count} worker processes", f"{len(pids)} children of process {server.pid}")
    return pids


def suspend(pid: int) -> None:
    """Stop a process. Until it is so, it may still accept, or be woken for a connection that it then does not take."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    if not processes.wait_until(lambda: processes.state(pid) == psutil.STATUS_STOPPED, SETTLE_S):
        raise ContractViolation(f"a stopped process {pid} after SIGSTOP", processes.state(pid) or "none with that id")


@contextmanager
def suspended(pid: int) -> Iterator[None]:
    """Stop a process meanwhile."""
    try:
        suspend(pid)
        yield
    finally:
        with suppress(ProcessLookupError):  # it may have been killed meanwhile
            os.kill(pid, signal.SIGCONT)


def wait_signal_taken(pid: int, number: signal.Signals, timeout_s: float) -> bool:
    """Wait until a process has taken note of a signal that it was sent, and waits for more."""

    def taken() -> bool:
        status = status_of(Path(f"/proc/{pid}/status"))
        pending = int(status["ShdPnd"], 16) | int(status["SigPnd"], 16)
        return not pending >> (number - 1) & 1 and processes.state(pid) == psutil.STATUS_SLEEPING

    return processes.wait_until(taken, timeout_s)


@contextmanager
def alone(pid: int, pids: Collection[int]) -> Iterator[None]:
    """Stop all other workers meanwhile, so that nothing hangs on whom the kernel would choose."""
    with ExitStack() as stack:
        for other in pids:
            if other != pid:
                stack.enter_context(suspended(other))
        yield


def connecting(subject: Subject, server: Server) -> Iterator[Connection]:
    """Connect for as long as this is iterated over, from all CPUs in turn: with percpu that decides who accepts."""
    for cpu in itertools.cycle(sorted(os.sched_getaffinity(0))):
        with processes.staying_on({cpu}):
            client = subject.connect(server.listen[0])
        yield client


def client_of(subject: Subject, server: Server, pid: int, pids: Collection[int]) -> Connection:
    """Get a reply from one of the workers, and return the connection, which is that worker's."""
    clients: list[Connection] = []
    coming = connecting(subject, server)
    pauses_s = (_ANOTHER_ROUND_AFTER_S * 2**number for number in itertools.count())

    def ask() -> bool:
        for client in itertools.islice(coming, _CONNECTIONS):
            client.send(REQUEST)
            clients.append(client)
        return processes.wait_until(lambda: any(client.unread() for client in clients), next(pauses_s))

    with alone(pid, pids):
        processes.wait_until(ask, SETTLE_S)
        answered = [client for client in clients if client.unread()]
        if not answered:
            raise ContractViolation(
                "a reply of each worker while it runs alone",
                f"none of worker process {pid} on {len(clients)} connections in {SETTLE_S:g} s",
            )
        for client in clients:
            if client is not answered[0]:
                client.close()
    answered[0].receive_reply()
    return answered[0]


def cpus_of(pid: int) -> set[str]:
    """List the CPUs that a worker may use, as the kernel writes them, one text for each thread that differs."""
    allowed = set()
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        with suppress(FileNotFoundError, ProcessLookupError):  # the thread has just ended
            allowed.add(status_of(status)["Cpus_allowed_list"])
    return allowed


def watched_events(pid: int, inode: int) -> list[int]:
    """Tell for what events a process's epoll sets watch a socket, a mask for each that does (proc_pid_fdinfo(5))."""
    masks = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it has just been closed
            if str(entry.readlink()) != "anon_inode:[eventpoll]":
                continue
            text = Path(f"/proc/{pid}/fdinfo/{entry.name}").read_text()
            watched = re.findall(r"^tfd:.* events: *([0-9a-f]+) .* ino:([0-9a-f]+)", text, re.MULTILINE)
            masks += [int(events, 16) for events, of in watched if int(of, 16) == inode]
    return masks


def status_of(path: Path) -> dict[str, str]:
    """Read a ``status`` file of a process (proc_pid_status(5))."""
    pairs = (line.partition(":") for line in path.read_text().splitlines())
    return {name: value.strip() for name, _, value in pairs}


def cpu_s(pid: int) -> float:
    """Tell how much CPU time a process has used so far, in seconds."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def busy(pid: int, duration_s: float) -> float:
    """Watch a process for some time; return which part of it it spent on a CPU."""
    try:
        used_s, began_s = cpu_s(pid), time.monotonic()
        processes.wait_ended(pid, duration_s)
        return (cpu_s(pid) - used_s) / (time.monotonic() - began_s)
    except psutil.NoSuchProcess:
        raise ContractViolation("a worker that goes on", f"the end of process {pid}") from None


def resident_bytes(pid: int) -> int:
    """Tell how much memory of a process is resident (proc_pid_statm(5))."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES


def highest_descriptor(pid: int) -> int:
    """Tell the highest number of a file that a process has open."""
    return max(int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir())
