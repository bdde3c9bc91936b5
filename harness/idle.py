"""Connections to a server that are open all the while and carry nothing, held by a process of their own.

On kept connections (``-k``) each has had one request answered before: a client that keeps a connection has used it, and
what a server allocates for a connection at its first request counts as well. In the other workloads nothing is sent on
them.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from harness import observe, open_files, processes
from harness.errors import BadInput
from harness.loadgen.holder import WITHIN_S, Held, Open
from harness.loadgen.piped import PipedProcess
from harness.measure import Contestant
from harness.servers import ServerFailed
from harness.testbed import Host

AT_A_TIME = 1_000
"""How many are opened before the server must have accepted them all: so that no SYN meets a full queue (somaxconn)."""
ACCEPTED_WITHIN_S = 10.0
HELD_WITHIN_S = WITHIN_S + 10.0
"""After how long a holder is given up: a slow server it tells of before."""
TOLD_WITHIN_S = 10.0
"""After how long it is given up when it has nothing to open."""
_HELD = msgspec.msgpack.Decoder(Held)
_MAY_CLOSE = 4
"""Descriptors of a server's connections to whoever found out that it answers, which it may not have closed yet."""


class IdleConnections:
    """The idle connections to one server."""

    def __init__(self, contestant: Contestant, holder: PipedProcess) -> None:
        self._contestant = contestant
        self._holder = holder
        self.rss_bytes = 0
        """How much the resident memory of the server grew when they were opened."""

    @property
    def pid(self) -> int:
        """The process that holds them."""
        return self._holder.pid

    def open(self, count: int) -> None:
        """Open so many, and wait until the server's processes have accepted them.

        A connection that waits in the listener's queue is established, too; what tells is the number of descriptors
        that the server's processes have open. Raises ServerFailed, GeneratorFailed when their holder ends, and BadInput
        when the client's side cannot have so many.
        """
        pids = self._contestant.pids
        try:
            before, resident = _descriptors(pids), observe.resident_bytes(pids)
            for opened in range(0, count, AT_A_TIME):
                wanted = min(count, opened + AT_A_TIME)
                held = self._ask(wanted - opened)
                if held.problem or held.lost:
                    raise self._refused(held, count)
                self._await_accepted(before + wanted - _MAY_CLOSE, before, count)
            self.rss_bytes = observe.resident_bytes(pids) - resident
        except ProcessLookupError:
            raise ServerFailed(f"{self._contestant.name} ended while idle connections were opened") from None

    def lost(self) -> int:
        """Return how many the server has ended since the last call. Raises GeneratorFailed when their holder has."""
        return self._ask(0).lost

    def _ask(self, count: int) -> Held:
        self._holder.send(Open(count))
        return self._holder.receive(HELD_WITHIN_S if count else TOLD_WITHIN_S, _HELD)

    def _await_accepted(self, wanted: int, before: int, count: int) -> None:
        pids = self._contestant.pids
        if not processes.wait_until(lambda: _descriptors(pids) >= wanted, ACCEPTED_WITHIN_S):
            raise self._too_few(_descriptors(pids) - before, count, f"no more in {ACCEPTED_WITHIN_S:g} s")

    def _refused(self, held: Held, count: int) -> Exception:
        if held.number:
            return BadInput(
                f"--idle {count}: the client's host cannot have as many to {self._contestant.name}: {held.problem}; "
                "what limits it: open files (ulimit -n), ports (net.ipv4.ip_local_port_range), memory"
            )
        return self._too_few(held.open, count, held.problem or f"it ended {held.lost:,} more")

    def _too_few(self, accepted: int, count: int, why: str) -> ServerFailed:
        limit, needed = min(map(open_files.limit_of, self._contestant.pids)), count + open_files.RESERVE
        if limit < needed:
            why += f"; a process of it may have {limit:,} open files: {open_files.advice(needed)}"
        return ServerFailed(f"{self._contestant.name} took {accepted:,} of {count:,} idle connections: {why}")


@contextmanager
def hold(
    contestant: Contestant, count: int, reply: bytes, host: Host, cpus: Sequence[int]
) -> Iterator[IdleConnections]:
    """Hold idle connections from a host; ``reply`` is what each gets to its one request, empty where it has none.

    Raises as ``IdleConnections.open``.
    """
    arguments = [contestant.target[0], str(contestant.target[1]), str(len(reply))]
    holder = PipedProcess("what holds idle connections", "harness.loadgen.holder", arguments, host)
    holder.start(cpus)
    try:
        idle = IdleConnections(contestant, holder)
        idle.open(count)
        yield idle
    finally:
        holder.stop()


def _descriptors(pids: Sequence[int]) -> int:
    """Count what some processes have open. Raises ProcessLookupError when one has ended."""
    try:
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)  # noqa: PTH208  Path objects for thousands
    except FileNotFoundError as error:
        raise ProcessLookupError(str(error)) from error
