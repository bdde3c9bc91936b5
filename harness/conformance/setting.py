"""What a case finds ready: a running server, and the backends that it was given."""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness import ports, processes
from harness.conformance.backend import Backend
from harness.registry import Implementation
from harness.servers import Server

LOOPBACK = "127.0.0.1"
_TOLD_WITHIN_S = 4.0
"""How long a server may take to name a worker that has ended."""

BackendKind = Literal["live", "dead"]
"""``live`` is played by the case, ``dead`` refuses every connection."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A server that listens, with its backends in the order of its command line."""

    server: Server
    live: tuple[Backend, ...]
    dead: tuple[str, ...]
    workers: frozenset[int]
    """Its worker processes when it began."""

    def lost(self) -> list[int]:
        """List those of its first workers that have ended; others may have taken their place."""
        return sorted(self.workers.difference(self.server.worker_pids()))

    def last_words(self) -> str:
        """Return its last line on standard error, or the last one that names a worker that has ended."""
        lost = [re.compile(rf"\b{pid}\b") for pid in self.lost()]

        def named() -> list[str]:
            return [line for line in self.server.stderr_lines() if any(pid.search(line) for pid in lost)]

        if lost:  # that a worker has ended may be seen before its parent has told
            processes.wait_until(lambda: bool(named()) or self.server.wait_ended(0), _TOLD_WITHIN_S)
        return (named() or [self.server.last_words(1)])[-1]


@contextmanager
def opened(
    implementation: Implementation, flags: Sequence[str], kinds: Sequence[BackendKind], directory: Path, name: str
) -> Iterator[Setting]:
    """Run backends and a server. Raises ServerFailed when it does not start."""
    with ExitStack() as stack:
        live: list[Backend] = []
        dead: list[str] = []
        addresses: list[str] = []
        for kind in kinds:
            if kind == "live":
                live.append(stack.enter_context(Backend([LOOPBACK])))
                addresses.append(live[-1].address)
            else:
                dead.append(stack.enter_context(ports.reserve(LOOPBACK)))
                addresses.append(dead[-1])
        if addresses:
            flags = [*flags, "-x", *addresses]
        listen = stack.enter_context(ports.reserve(LOOPBACK))
        server = stack.enter_context(Server(implementation, flags, [listen], directory, name))
        server.wait_listening()
        wanted = int(flags[flags.index("-w") + 1]) if "-w" in flags else 1
        server.wait_forked(wanted)
        yield Setting(server, tuple(live), tuple(dead), frozenset(server.worker_pids()))
