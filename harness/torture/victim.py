"""A server under torture: its processes, its clients' view of it, and what it must be like when it is quiet."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from harness import processes
from harness.resources import Held, held, largest
from harness.servers import START_TIMEOUT_S, Server, ServerFailed
from harness.torture.client import Target
from harness.torture.outcome import Growth

QUIET_WITHIN_S = 20.0
STILL_FOR_S = 4.0
"""When nothing has changed for so long, nothing will: connections linger for two seconds."""
_STILL_WITHOUT_FAULTS_S = 1.0
"""Where no client has left a request half-way, none lingers."""
_EXCHANGES_ALONE = 10
_LOOK_EVERY_S = 0.02


class Victim:
    """A server and its clients' end of it."""

    def __init__(self, server: Server, target: Target, workers: int) -> None:
        self.server = server
        self.target = target
        self._workers = workers
        self._spare = 0
        """Sockets that a worker may keep for later."""
        self.pids: list[int] = []
        """The workers as they are meant to be now."""
        self._oldest: int | None = None
        self._fresh: Held | None = None
        self._parent: Held | None = None
        self._warm: Held | None = None

    @property
    def name(self) -> str:
        """The way in which it works."""
        return self.target.way.name

    @property
    def mortal(self) -> list[int]:
        """Return the workers that may be killed: but one, where there are several, so that what leaks adds up in it."""
        return [pid for pid in self.pids if pid != self._oldest] or self.pids

    def note_fresh(self) -> None:
        """Note what it is like before any load. Raises ProcessLookupError, and ServerFailed without its workers."""
        if not processes.wait_until(lambda: len(self.server.worker_pids()) == self._workers, START_TIMEOUT_S):
            found = len(self.server.worker_pids())
            raise ServerFailed(
                f"{self.server.implementation.name}, {self.name}: {found} child processes, where {self._workers} "
                f"workers were asked for; {self.server.fate()}"
            )
        self.pids = self.server.worker_pids()
        self._oldest = self.pids[0]
        self._fresh = largest(map(held, self.pids))
        self._parent = held(self.server.pid)

    async def note_used(self, at_once: int, exchange: Callable[[], Awaitable[bool]]) -> None:
        """Note what it keeps after its first exchanges, so many at once and without a fault.

        Of other descriptors than sockets these are what a quiet worker holds: libuv has one more from its first
        connection on. A proxy that keeps sockets may keep as many as it may have needed at a time, where each client
        may be back before its last exchange is noticed to have ended; others may keep none. One may keep none of an
        exchange that took long, as all do on a busy machine: so there are further ones, each alone, until it has kept
        one. Raises ProcessLookupError.
        """
        for alone in range(1 + _EXCHANGES_ALONE):
            if alone:
                await exchange()
            await self._settled(_STILL_WITHOUT_FAULTS_S)
            used, fresh = largest(map(held, self.server.worker_pids())), self._noted()
            self._fresh = replace(fresh, others=max(used.others, fresh.others))
            if not self.target.way.proxied:
                return
            if used.sockets > fresh.sockets:
                self._spare = 2 * at_once
                return

    async def note_warm(self) -> None:
        """Note what it is like after load without a fault done to its processes. Raises ProcessLookupError."""
        await self._settled()
        self._warm = largest(map(held, self.server.worker_pids()))

    async def wait_replaced(self, killed: int, timeout_s: float) -> bool:
        """Wait until there are as many workers as before, without the one that was killed."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        while True:
            pids = await asyncio.to_thread(self.server.worker_pids)
            if killed not in pids and len(pids) == self._workers:
                self.pids = pids
                return True
            if loop.time() > deadline_s:
                return False
            await asyncio.sleep(_LOOK_EVERY_S)

    async def growth(self) -> Growth:
        """Compare it with what it was when it was quiet before. Raises ProcessLookupError."""
        if self._warm is None or self._parent is None:
            raise RuntimeError("nothing was noted to compare with")
        await self._settled()
        workers, parent = [held(pid) for pid in self.server.worker_pids()], held(self.server.pid)
        pairs = ((largest(workers), self._warm), (parent, self._parent))
        return Growth(
            server=self.name,
            leaked=sum(self._surplus(one) for one in workers) + _surplus(parent, self._parent),
            rss_bytes=max(now.rss_bytes - before.rss_bytes for now, before in pairs),
            allocated_bytes=max(now.allocated_bytes - before.allocated_bytes for now, before in pairs),
        )

    def _surpluses(self) -> list[int]:
        """Return what each worker holds beyond a quiet one. Raises ProcessLookupError."""
        return [self._surplus(held(pid)) for pid in self.server.worker_pids()]

    async def _settled(self, still_for_s: float = STILL_FOR_S) -> None:
        """Wait until no worker holds more than a quiet one, or nothing changes any more. Raises ProcessLookupError."""
        loop = asyncio.get_running_loop()
        began_s = changed_s = loop.time()
        before = await asyncio.to_thread(self._surpluses)
        while any(before) and loop.time() < min(began_s + QUIET_WITHIN_S, changed_s + still_for_s):
            await asyncio.sleep(_LOOK_EVERY_S)
            now = await asyncio.to_thread(self._surpluses)
            if now != before:
                before, changed_s = now, loop.time()

    def _surplus(self, one: Held) -> int:
        fresh = self._noted()
        return max(0, one.sockets - fresh.sockets - self._spare) + max(0, one.others - fresh.others)

    def _noted(self) -> Held:
        if self._fresh is None:
            raise RuntimeError("nothing was noted to compare with")
        return self._fresh


def _surplus(now: Held, before: Held) -> int:
    return max(0, now.sockets + now.others - before.sockets - before.others)


def ended(victims: Sequence[Victim]) -> list[str]:
    """Name the servers that have ended by themselves, with their last words."""
    return [f"{one.name} has ended: {one.server.fate()}" for one in victims if one.server.died]


def left(victims: Sequence[Victim]) -> list[int]:
    """List the processes of servers that were stopped."""
    return [pid for one in victims for pid in processes.members(one.server.pid)]
