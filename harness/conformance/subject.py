"""The implementation under check, as a case sees it."""

import re
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from harness import ports
from harness.conformance.backend import Backend, Call, called
from harness.conformance.connection import Connection, connected
from harness.conformance.reply import Reply
from harness.conformance.setting import LOOPBACK, Setting
from harness.conformance.violation import ContractViolation, shown
from harness.registry import Implementation
from harness.servers import REQUEST, Server

RUN_TIMEOUT_S = 10.0
"""How long a program may take that should end by itself, the start of an interpreter on a busy machine included."""
FURTHER_ADDRESSES_TIMEOUT_S = 3.0
"""How much later than the first address a server may listen on others."""

BAD_INPUT = 2
"""The exit status."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that ended by itself."""

    command: str
    status: int
    stdout: str
    stderr: list[str]
    left_running: int
    """Processes of it that were still there."""

    def expect_status(self, wanted: int) -> None:
        """See it end with this exit status."""
        if self.status != wanted:
            said = " | ".join(self.stderr[-2:]) or "nothing"
            raise ContractViolation(
                f"exit status {wanted} of '{self.command}'", f"{self.status}, and on standard error {said}"
            )

    def expect_rejection(self, named: str) -> None:
        """See bad input answered: with one line that names it, the status for that, and no process left."""
        if self.left_running:
            raise ContractViolation(f"no process left of '{self.command}'", str(self.left_running))
        self.expect_status(BAD_INPUT)
        if len(self.stderr) != 1:
            raise ContractViolation("one line on standard error", shown("\n".join(self.stderr).encode(), 200))
        if not re.search(rf"(?<!\w){re.escape(named)}(?!\w)", self.stderr[0]):
            raise ContractViolation(f"a line that names {named}", repr(self.stderr[0]))


class Subject:
    """Runs servers and opens connections for one case; all of them are gone when it ends."""

    def __init__(
        self, implementation: Implementation, flags: Sequence[str], directory: Path, setting: Setting | None
    ) -> None:
        """Look at ``setting``, or without one at what the case starts itself, in ``directory``."""
        self.implementation = implementation
        self.directory = directory
        self.keepalive = "-k" in flags
        self._setting = setting
        self._stack = ExitStack()
        self._started = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def server(self) -> Server:
        """The server that was running when the case began."""
        return self._ready.server

    @property
    def live_backends(self) -> tuple[Backend, ...]:
        """Its backends that the case plays."""
        return self._ready.live

    @property
    def dead_backends(self) -> tuple[str, ...]:
        """Its backends that refuse."""
        return self._ready.dead

    @property
    def _ready(self) -> Setting:
        if self._setting is None:
            raise RuntimeError("a case with server='none' starts its servers itself")
        return self._setting

    def connect(self, address: str | None = None, *, small_buffers: bool = False) -> Connection:
        """Connect to the running server or to another address; see ``connection.connected``."""
        opening = connected(address or self.server.listen[0], small_buffers=small_buffers)
        return self._stack.enter_context(opening)

    def exchange(self, address: str | None = None, request: bytes = REQUEST, *, what: str = "a reply") -> Reply:
        """Get a ``200`` reply on a connection of its own."""
        with connected(address or self.server.listen[0]) as client:
            client.send(request)
            reply = client.receive_reply(what)
        if reply.status != "200":
            raise ContractViolation(f"{what} with status 200", repr(reply.status_line))
        return reply

    def call(self, backends: Sequence[Backend] | None = None) -> Call:
        """Prepare an exchange through the proxy with one of its backends."""
        return self._stack.enter_context(called(self.live_backends if backends is None else backends))

    def backend(self, hosts: Sequence[str], port: int = 0) -> Backend:
        """Run a further backend."""
        return self._stack.enter_context(Backend(hosts, port))

    def reserve(self, host: str = LOOPBACK) -> str:
        """Reserve an address for the rest of the case; see ``ports.reserve``."""
        return self._stack.enter_context(ports.reserve(host))

    def start(
        self,
        flags: Sequence[str],
        listen: Sequence[str] | None = None,
        *,
        cpus: Collection[int] | None = None,
        also: Collection[str] = (),
        log_begins_with: str = "",
    ) -> Server:
        """Start a further server and wait until it listens, on ``also`` too; by default on an address of its own."""
        server = self._server(flags, [self.reserve()] if listen is None else listen, cpus=cpus)
        if log_begins_with:
            server.log_path.write_text(log_begins_with)
        self._stack.enter_context(server)
        server.wait_listening()
        server.wait_listening(FURTHER_ADDRESSES_TIMEOUT_S, also)
        return server

    def run(
        self, flags: Sequence[str], listen: Sequence[str] = (), *, without_capability: int | None = None
    ) -> Finished:
        """Run a command line that should end by itself."""
        with self._server(flags, listen, without_capability=without_capability) as server:
            command = " ".join(server.command[len(self.implementation.argv) :])
            if not server.wait_ended(RUN_TIMEOUT_S):
                raise ContractViolation(f"an end by itself of {command}", f"a process after {RUN_TIMEOUT_S:g} s")
            left_running = len(server.process_pids())
            status = server.stop()
        return Finished(command, status, server.stdout_text(), server.stderr_lines(), left_running)

    def _server(
        self,
        flags: Sequence[str],
        listen: Sequence[str],
        *,
        cpus: Collection[int] | None = None,
        without_capability: int | None = None,
    ) -> Server:
        self._started += 1
        name = f"server-{self._started}"
        return Server(
            self.implementation,
            flags,
            listen,
            self.directory,
            name,
            cpus=cpus,
            without_capability=without_capability,
        )
