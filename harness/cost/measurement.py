"""What one request of a workload takes of one server."""

import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from harness import ports, processes
from harness.analysis.cost import Cost, Counts, Figure, Taken, per_request
from harness.cost import counter
from harness.cost.exchanges import TIMEOUT_S, Exchange, Idle, Keepalive, Proxy, Short, client_of
from harness.cost.tracer import Tracer
from harness.cost.wire import Wire
from harness.cost.workers import Workers
from harness.registry import Implementation
from harness.schema import PlannedCell
from harness.servers import Server, ServerFailed
from harness.testbed import Host, Testbed

BUNCH = 64
"""How many requests come at a time in a bunch: as many events as epoll_raw, and the original, take from a poll."""
ROUNDS, ROUNDS_OF_BUNCHES = 10, 3
_WARM_UPS = 2
"""Rounds before the first, until memory is taken and no early segment of a connection is acknowledged at once."""
_TRIES = 30
"""How often a round is made in which the time that it took makes a segment."""
_NEVER_S = "86400"

_WAKEUPS, _COUNTED = "wakeups", "counted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is measured, and where."""

    implementation: Implementation
    cell: PlannedCell
    testbed: Testbed
    folder: Path
    """Where the server logs, and strace writes."""

    @property
    def is_proxy(self) -> bool:
        """Whether the server relays to a backend."""
        return self.cell.workload == "proxy"


def measure(setting: Setting) -> Cost:
    """Start a server, and count. Raises ServerFailed and BadInput."""
    setting.testbed.steer(setting.cell)
    name, workload = setting.implementation.name, setting.cell.workload
    with ExitStack() as stack:
        # This thread is the client and the backend.
        stack.enter_context(processes.staying_on(setting.cell.generator_cpus))
        try:
            subject = _start(stack, setting)
            traffic = [subject.traffic(exchange) for exchange in subject.exchanges]
            instructions = subject.instructions()
            # Not before: strace's stops would count as sleeps.
            tracer = Tracer(subject.workers.pids, setting.folder, setting.cell.generator_cpus)
            calls = subject.without_holds(stack.enter_context(tracer).calls)
        except OSError as error:
            raise ServerFailed(f"{name}, {workload}: {error.strerror or error}") from error
    alone, *bunch = [
        Taken(
            at_a_time=exchange.requests,
            calls=of_calls,
            wakeups=None if setting.is_proxy else of_traffic.get(_WAKEUPS, Figure(0, 0, 0)),
            segments={name: figure for name, figure in of_traffic.items() if name != _WAKEUPS},
            instructions=of_instructions,
        )
        for exchange, of_traffic, of_instructions, of_calls in zip(
            subject.exchanges, traffic, instructions, calls, strict=True
        )
    ]
    return Cost(impl=name, workload=workload, alone=alone, bunch=bunch[0] if bunch else None)


@dataclass(frozen=True, slots=True)
class _Subject:
    """A server that is up, and what is asked of it."""

    workers: Workers
    wire: Wire
    exchanges: Sequence[Exchange]
    """One request at a time, and then a bunch of them where that has an order."""

    def traffic(self, exchange: Exchange) -> Mapping[str, Figure]:
        """Count wake-ups, and segments of a request by itself. Raises OSError and ServerFailed."""
        if exchange.requests > 1:
            return per_request(self._rounds(exchange, self._wakeups), exchange.requests)
        self._warm_up(exchange)
        return per_request([self._undisturbed(exchange) for _ in range(ROUNDS)], exchange.requests)

    def instructions(self) -> Sequence[Figure | None]:
        """Count the instructions of each exchange where that is possible. Raises OSError and ServerFailed."""
        try:
            with counter.opened(self.workers.pids) as opened:
                return [found.get(_COUNTED) for found in self.without_holds(lambda: {_COUNTED: opened.read()})]
        except counter.CannotCount:
            return [None] * len(self.exchanges)

    def without_holds(self, count: Callable[[], Counts]) -> list[Mapping[str, Figure]]:
        """Count something of each exchange, less what a hold takes by itself. Raises OSError and ServerFailed."""
        idle = per_request(self._rounds(Idle(self.workers), count), 1)
        of_a_hold = {name: figure.value for name, figure in idle.items()}
        return [
            per_request(self._rounds(exchange, count), exchange.requests, exchange.holds, of_a_hold)
            for exchange in self.exchanges
        ]

    def _rounds(self, exchange: Exchange, count: Callable[[], Counts]) -> list[Counts]:
        self._warm_up(exchange)
        rounds = ROUNDS_OF_BUNCHES if exchange.requests > 1 else ROUNDS
        return [_round(exchange, count) for _ in range(rounds)]

    def _warm_up(self, exchange: Exchange) -> None:
        for _ in range(_WARM_UPS):
            exchange.go()
        self.wire.mark_rest()

    def _undisturbed(self, exchange: Exchange) -> Counts:
        """Make a round, and again where segments were sent because time had passed; the last time counts anyway.

        What is sent because of time changes how the next segments are acknowledged. So a round goes before each.
        """
        for _ in range(_TRIES):
            by_time = self.wire.traffic().by_time
            exchange.go()
            counts = _round(exchange, self._at_rest)
            if self.wire.traffic().by_time == by_time:
                break
        return counts

    def _at_rest(self) -> Counts:
        # The last acknowledgement may still be under way when the server sleeps.
        self.wire.wait_arrived()
        return {**self._wakeups(), **self.wire.traffic().segments}

    def _wakeups(self) -> Counts:
        return {_WAKEUPS: self.workers.wakeups()}


def _round(exchange: Exchange, count: Callable[[], Counts]) -> Counts:
    before = count()
    exchange.go()
    after = count()
    return {name: after[name] - before.get(name, 0) for name in after}


def _start(stack: ExitStack, setting: Setting) -> _Subject:
    """Start the server, and make sure that it answers. Raises OSError and ServerFailed."""
    host, client_host = setting.testbed.server, setting.testbed.client
    wire = Wire(setting.testbed, with_backend=setting.is_proxy)
    # No time limit runs out meanwhile, as each that does costs the server a poll.
    flags = ["-w", "1", "-c", str(setting.cell.server_cpus[0]), "--idle-timeout", _NEVER_S]
    if setting.cell.workload == "keepalive":
        flags.append("-k")
    if setting.is_proxy:
        backend = _listener(stack, setting.testbed.backend)
        limits = ["--connect-timeout", _NEVER_S, "--reply-timeout", _NEVER_S]
        flags += ["-x", ports.join(*backend.getsockname()), *limits]
    server = Server(
        setting.implementation,
        flags,
        [stack.enter_context(host.reserve())],
        setting.folder,
        setting.implementation.name,
        host=host,
        cpus=setting.cell.server_cpus,
    )
    stack.enter_context(server)
    target = ports.split(server.listen[0])
    if setting.is_proxy:
        server.wait_listening()
        Proxy(target, client_host, backend, wire, Workers(setting.implementation.name, ())).go()
        workers = _workers(server)
        return _Subject(workers, wire, [Proxy(target, client_host, backend, wire, workers)])
    server.wait_ready()
    reply, workers = server.sample_reply(), _workers(server)
    if setting.cell.workload == "keepalive":
        clients = [_connected(stack, client_host, target) for _ in range(BUNCH)]
        return _Subject(
            workers,
            wire,
            [Keepalive(clients[:1], reply, wire, workers), Keepalive(clients, reply, wire, workers)],
        )
    return _Subject(workers, wire, [Short(width, target, client_host, reply, wire, workers) for width in (1, BUNCH)])


def _workers(server: Server) -> Workers:
    """Return those that answer: the children of what was started, which itself prints statistics; or that alone."""
    return Workers(server.implementation.name, server.worker_pids() or [server.pid])


def _listener(stack: ExitStack, host: Host) -> socket.socket:
    listener = stack.enter_context(host.socket())
    listener.bind((host.address, 0))
    listener.listen()
    listener.settimeout(TIMEOUT_S)
    return listener


def _connected(stack: ExitStack, host: Host, target: tuple[str, int]) -> socket.socket:
    client = stack.enter_context(client_of(host))
    client.connect(target)
    return client
