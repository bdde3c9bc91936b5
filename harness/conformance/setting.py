"""What a case finds ready: a running server, and the backends that it was given."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness import ports
from harness.conformance.backend import Backend
from harness.registry import Implementation
from harness.servers import Server

LOOPBACK = "127.0.0.1"

BackendKind = Literal["live", "dead"]
"""``live`` is played by the case, ``dead`` refuses every connection."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A server that listens, with its backends in the order of its command line."""

    server: Server
    live: tuple[Backend, ...]
    dead: tuple[str, ...]


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
        yield Setting(server, tuple(live), tuple(dead))
