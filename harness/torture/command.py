"""The torture command: servers and backends up, load, faults, quiet, and the account."""

import asyncio
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rich.console import Console

from harness import hosts, leftovers, ports
from harness.registry import Implementation
from harness.servers import Server
from harness.torture import log_faults, schedule, worker_faults
from harness.torture.backend import Backend
from harness.torture.client import Client, Target
from harness.torture.content import Content
from harness.torture.exchange import Exchange
from harness.torture.judge import Outage
from harness.torture.ledger import Ledger
from harness.torture.outcome import Tortured
from harness.torture.schedule import Fault
from harness.torture.victim import Victim, ended, left
from harness.torture.way import WAYS, flags

BACKENDS = 3
CLIENTS = 16
"""Of each server."""
WARM_UP_SHARE, LONGEST_WARM_UP_S = 0.25, 15.0
_LOOK_EVERY_S = 0.2
_KILLS_APART_S = 1.5
"""A worker that lives for less than a second is taken for one that dies at once."""
_LAST_EXCHANGES = 8
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked for."""

    implementation: Implementation
    duration_s: float
    seed: int
    workers: int
    until_lost: bool = False
    """Whether to end as soon as a request is lost, or something else is found."""


def torture(request: Request, progress: Console) -> Tortured:
    """Torture an implementation; the folder of what servers printed and logged is kept when something was found.

    Raises ServerFailed when a server does not start, or not with the workers asked for, and OSError where there is no
    room for the folder.
    """
    hosts.clear_away(progress)
    folder = leftovers.new_folder(f"torture-{request.implementation.name}")
    try:
        with ExitStack() as stack:
            run = _Run(request, folder, stack)
            with run.interruptible():
                asyncio.run(run.run(progress))
                run.end()
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if run.result.stood:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        leftovers.keep_folder(folder)
    return run.result


class _Run:
    """One run of the command."""

    def __init__(self, request: Request, folder: Path, stack: ExitStack) -> None:
        """Start the servers. Raises ServerFailed."""
        self._request = request
        self.result = Tortured(request.implementation.name, request.seed, Ledger(folder, BACKENDS))
        self._ledger = self.result.ledger
        self._known: dict[bytes, Exchange] = {}
        self._content = Content(request.seed)
        addresses = [stack.enter_context(ports.reserve(_LOOPBACK)) for _ in range(BACKENDS)]
        self._backends = [Backend(address, self._known, self._ledger) for address in addresses]
        self._victims: list[Victim] = []
        servers = []
        for way in WAYS:
            listen = stack.enter_context(ports.reserve(_LOOPBACK))
            given = flags(way, request.workers, addresses)
            servers.append(stack.enter_context(Server(request.implementation, given, [listen], folder, way.name)))
        for way, server in zip(WAYS, servers, strict=True):
            server.wait_listening()
            reply = b"" if way.proxied else server.sample_reply()
            self._victims.append(Victim(server, Target(way, server.listen[0], reply), request.workers))
        self._stop = asyncio.Event()
        self._last_kill_s: dict[str, float] = {}
        self._clients = {
            victim.name: [
                Client(victim.target, number, request.seed, self._content, self._known, self._ledger)
                for number in range(CLIENTS)
            ]
            for victim in self._victims
        }

    async def run(self, progress: Console) -> None:
        """Warm up, torture, let it be quiet, and look at what is there. Raises ServerFailed."""
        began_s = time.monotonic()
        try:
            for backend in self._backends:
                backend.listen()
            for victim in self._victims:
                victim.note_fresh()
            with progress.status("warming up"):
                await self._warm_up()
            with progress.status(f"torturing {self._request.implementation.name}, seed {self._request.seed}"):
                await self._torture(time.monotonic() + self._request.duration_s - self._warm_up_s)
            with progress.status("waiting for quiet"):
                await self._look()
        except ProcessLookupError as error:
            self._ledger.find(f"a process that should live is gone: {error}")
            self._ledger.findings += ended(self._victims)
        except OSError as error:
            self._ledger.find(f"broken off: {error}")
        finally:
            for backend in self._backends:
                await backend.die()
        self.result.lasted_s = time.monotonic() - began_s

    @property
    def _warm_up_s(self) -> float:
        return min(LONGEST_WARM_UP_S, self._request.duration_s * WARM_UP_SHARE)

    async def _warm_up(self) -> None:
        """Load the servers without a fault done to them, and note what they are like then."""
        await asyncio.gather(*(client.once() for several in self._clients.values() for client in several))
        for victim in self._victims:
            await victim.note_used(CLIENTS, self._clients[victim.name][0].once)
        await self._load(time.monotonic() + self._warm_up_s)
        await asyncio.gather(*map(self._has_its_workers, self._victims))
        await asyncio.gather(*(victim.note_warm() for victim in self._victims))

    def end(self) -> None:
        """Ask all servers to end, and see that they do, with status 0, and leave no process."""
        gone = ended(self._victims)
        with ThreadPoolExecutor(len(self._victims)) as pool:
            statuses = list(pool.map(lambda victim: victim.server.stop(), self._victims))
        for victim, status in zip(self._victims, statuses, strict=True):
            if status and not gone:
                self._ledger.find(f"{victim.name} ended with status {status}: {victim.server.last_words()}")
        for pid in left(self._victims):
            self._ledger.find(f"process {pid} is left")

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """End the load at an interrupt, and go on with the quiet and the account, which no other one cuts short."""
        every = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        before = {number: handler for number, handler in every.items() if handler is not signal.SIG_IGN}
        for number in before:
            signal.signal(number, self._interrupt)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_IGN if self.result.interrupted else handler)

    def _interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        self.result.interrupted = True

    async def _load(self, end_s: float) -> None:
        """Let all clients make exchanges until a time, and wait until those under way are over."""
        left_s = self._left(end_s)
        await asyncio.gather(*(client.run(left_s) for several in self._clients.values() for client in several))

    def _left(self, end_s: float) -> Callable[[], float]:
        return lambda: 0.0 if self._is_over() else end_s - time.monotonic()

    def _is_over(self) -> bool:
        found = self._request.until_lost and (self._ledger.unexplained or self._ledger.findings)
        return self._stop.is_set() or self.result.interrupted or bool(found or self._ledger.cut_off)

    async def _torture(self, end_s: float) -> None:
        load = asyncio.create_task(self._load(end_s))
        injecting = [
            asyncio.create_task(self._disturb_backends(end_s)),
            *(asyncio.create_task(self._disturb(victim, end_s)) for victim in self._victims),
        ]
        try:
            while not load.done():
                running = [load, *(task for task in injecting if not task.done() or task.exception())]
                await asyncio.wait(running, timeout=_LOOK_EVERY_S, return_when=asyncio.FIRST_EXCEPTION)
                if found := ended(self._victims):
                    self._ledger.findings += found
                    self._stop.set()
                    break
                if self._is_over():
                    self._stop.set()
                for task in injecting:
                    if task.done():
                        task.result()
            await asyncio.gather(load, *injecting)
        finally:
            for task in (load, *injecting):
                task.cancel()
            await asyncio.gather(load, *injecting, return_exceptions=True)

    async def _disturb(self, victim: Victim, end_s: float) -> None:
        """Inject the faults of one server in turn, until a time."""
        left_s = self._left(end_s)
        for fault in schedule.faults(self._request.seed, victim.name):
            await self._wait(min(fault.rest_s, left_s()))
            if left_s() <= 0:
                return
            if not await self._has_its_workers(victim):
                return
            await self._inject(victim, fault)

    async def _has_its_workers(self, victim: Victim) -> bool:
        """Tell, and note where that is not so, whether its workers are those that were not killed here."""
        pids = await asyncio.to_thread(victim.server.worker_pids)
        if pids == victim.pids:
            return True
        self._ledger.find(f"{victim.name}: a worker has ended by itself: {victim.server.last_words()}")
        victim.pids = pids
        return False

    async def _inject(self, victim: Victim, fault: Fault) -> None:
        several = victim.mortal if fault.kind == "kill" else victim.pids
        pid = several[int(fault.worker * len(several))]
        match fault.kind:
            case "pause":
                await worker_faults.pause(victim, pid, fault.lasts_s, self._ledger)
            case "kill":
                again_s = self._last_kill_s.get(victim.name, 0.0) + _KILLS_APART_S
                await self._wait(again_s - time.monotonic())
                replaced_s = await worker_faults.kill(victim, pid, self._ledger)
                self.result.replaced_s += [replaced_s] if replaced_s is not None else []
                self._last_kill_s[victim.name] = time.monotonic()
            case "remove log":
                await log_faults.remove(victim, self._ledger)
            case "full log":
                await log_faults.fill(victim, fault.lasts_s, self._ledger)
            case "storm":
                await log_faults.storm(victim, self._ledger)

    async def _disturb_backends(self, end_s: float) -> None:
        """Let backends die and return, until a time."""
        left_s = self._left(end_s)
        for death in schedule.deaths(self._request.seed, BACKENDS):
            await self._wait(min(death.rest_s, left_s()))
            if left_s() <= 0:
                return
            outages = [Outage(number, time.monotonic()) for number in death.backends]
            self._ledger.outages += outages
            try:
                for number in death.backends:
                    await self._backends[number].die()
                    self._ledger.fault("deaths of a backend", str(number))
                await self._wait(death.lasts_s)
            finally:
                for number in death.backends:
                    self._backends[number].listen()
                for outage in outages:
                    outage.end_s = time.monotonic()

    async def _wait(self, time_s: float) -> None:
        """Wait for some time, or until the end is near."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, time_s)):
                await self._stop.wait()

    async def _look(self) -> None:
        """See that each server answers, and has back what it had when it was quiet before."""
        if ended(self._victims):
            return
        for victim in self._victims:
            await self._has_its_workers(victim)
            for client in self._clients[victim.name][:_LAST_EXCHANGES]:
                if not await client.once():
                    self._ledger.find(f"{victim.name} does not answer correctly any more")
        self.result.growth += await asyncio.gather(*(victim.growth() for victim in self._victims))
