"""One running implementation: start, wait until ready, observe, stop."""

import math
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from types import TracebackType
from typing import Self

import psutil

from harness import lineage, output_bound, ports, preload, processes
from harness.registry import Implementation
from harness.testbed.host import Host

REQUEST = b"GET / HTTP/1.1\r\nHost: percore\r\n\r\n"
"""A connection of HTTP/1.1 stays open unless the server says otherwise, so with ``-k`` nginx keeps it, too."""
START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 3.0
"""The contract allows two seconds (PROC-SIGTERM)."""
_TRY_TIMEOUT_S = 1.0
"""Of one of several tries."""
_FORKED_WITHIN_S = 0.5
"""How much later than its listeners a server's workers may be there, if it has any and gets a CPU."""
_LAST_LINES = 5
_LAST_BYTES = 16_384
_LONGEST_LINE = 300
_MOST_LENGTH_BYTES = 20
"""Of what stands behind Content-Length, blanks included."""
_MOST_REPLY_BYTES = 1_048_576
_STATISTICS = re.compile(r"worker \d+ cpu |Request/s ")
"""How lines begin that a server prints each second with ``-v``, and that say nothing of its end."""
_LISTEN = "0A"
"""The state of a listening socket in /proc/net/tcp."""


class ServerFailed(Exception):  # noqa: N818  as subprocess.TimeoutExpired: what happened
    """A server did not start or does not answer; the text holds the command and its last words."""

    def __init__(self, text: str, reason: str = "") -> None:
        """``reason`` is what to say of it where name and command are known; else that is the whole text."""
        super().__init__(text)
        self.reason = reason or text


class Server:
    """An implementation's processes; as a context manager they run inside of it, and none is left behind."""

    def __init__(
        self,
        implementation: Implementation,
        flags: Sequence[str],
        listen: Sequence[str],
        directory: Path,
        name: str,
        *,
        host: Host | None = None,
        cpus: Collection[int] | None = None,
        without_capability: int | None = None,
    ) -> None:
        """Add to ``flags`` the listen addresses and a log file ``directory/name.log``.

        Standard output and error go to ``name.out`` and ``name.err`` there. ``host`` is where it runs, None for the
        harness's own network; ``cpus`` are those that all its processes may use, ``without_capability`` is one that
        they shall not have (capabilities(7)).
        """
        self.implementation = implementation
        self.listen = tuple(listen)
        directory.mkdir(parents=True, exist_ok=True)
        base = directory.resolve() / name
        self.log_path, self.stdout_path, self.stderr_path = (base.with_name(name + end) for end in _ENDINGS)
        own_flags = [*(["-a", *listen] if listen else []), "-o", str(self.log_path)]
        self.command = (*implementation.argv, *own_flags, *flags)
        self._library = implementation.variant.preload
        self._host = host
        self._cpus = cpus
        self._without_capability = without_capability
        self._process: subprocess.Popen[bytes] | None = None
        self.ended_by_harness = ""
        """Why the harness has killed it before its time; an empty text when it has not."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the processes; what listens is ready when ``wait_listening`` or ``wait_ready`` returns."""
        with self.stdout_path.open("wb") as stdout, self.stderr_path.open("wb") as stderr:
            self._process = processes.start(
                self.command,
                cwd=self.implementation.cwd,
                stdout=stdout,
                stderr=stderr,
                cpus=self._cpus,
                without_capability=self._without_capability,
                namespace_pid=self._host.holder_pid if self._host else None,
                preload=self._library.path if self._library else None,
            )
        output_bound.watch(self)

    @property
    def pid(self) -> int:
        """The process that was started: the parent of the workers, and the leader of their session."""
        if self._process is None:
            raise RuntimeError("the server was not started")
        return self._process.pid

    @property
    def died(self) -> bool:
        """Whether the process that was started has ended without ``stop``."""
        return self._process is not None and self._process.returncode is None and self.wait_ended(0)

    @property
    def running(self) -> bool:
        """Whether the process that was started is there, and ``stop`` was not called."""
        return self._process is not None and self._process.returncode is None and not self.wait_ended(0)

    def worker_pids(self) -> list[int]:
        """List the children of the process that was started."""
        return processes.children(self.pid)

    def process_pids(self) -> list[int]:
        """List all living processes of the server, orphans too."""
        return processes.members(self.pid)

    def stdout_text(self) -> str:
        """Return what it has written to standard output so far."""
        return self.stdout_path.read_text(errors="replace")

    def stderr_lines(self) -> list[str]:
        """Return the whole lines it has written to standard error so far."""
        text = self.stderr_path.read_text(errors="replace")
        return text[: text.rfind("\n") + 1].splitlines()

    def last_words(self, lines: int = _LAST_LINES) -> str:
        """Return its last lines on standard error in one line, each cut to 300 characters, without its statistics."""
        said = [line for line in self._last_lines() if not _STATISTICS.match(line)]
        return " | ".join(line[:_LONGEST_LINE] for line in said[-lines:]) or "nothing on standard error"

    def _last_lines(self) -> list[str]:
        with self.stderr_path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _LAST_BYTES))
            text = file.read().decode(errors="replace")
        return text.splitlines()[1 if size > _LAST_BYTES else 0 :]

    def fate(self) -> str:
        """Say what has become of it, and what it said last, in one line."""
        return f"{self.ended_by_harness or self._status()}; its last lines: {self.last_words()}"

    def _status(self) -> str:
        """Say how the process that was started has ended; its status stays to be fetched."""
        if self._process is None or self._process.returncode is not None:
            return "it was stopped"
        ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return "its parent process is alive"
        if ended.si_code == os.CLD_EXITED:
            return f"it ended with status {ended.si_status}"
        return f"it was ended by {Signals(ended.si_status).name}"

    def log_text(self) -> str:
        """Return its log file; an empty text when there is none."""
        try:
            return self.log_path.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def wait_listening(self, timeout_s: float = START_TIMEOUT_S, also: Collection[str] = ()) -> None:
        """Wait until the kernel shows all addresses, and ``also`` these, as listened on; no connection is made.

        Raises ServerFailed when the server ends before, and when time is over.
        """
        wanted = [*self.listen, *also]
        ended = False

        def listening_or_ended() -> bool:
            nonlocal ended
            ended = self.wait_ended(0)
            # One after the other, as to look for one of IPv6 takes long before anybody listens there.
            return ended or all(one in _listened_on(self.pid, {one}) for one in wanted)

        reached = processes.wait_until(listening_or_ended, timeout_s)
        if ended:
            raise self._failed("ended before it listened")
        if not reached:
            missing = " ".join(sorted({*wanted} - _listened_on(self.pid, wanted)))
            raise self._failed(f"does not listen on {missing} after {timeout_s:g} s")
        self.check_preloaded()

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until a request to each address gets a whole ``200`` reply.

        Raises ServerFailed when the server ends before, and when time is over.
        """
        problem = "no reply"

        def answers() -> bool:
            nonlocal problem
            if self.wait_ended(0):
                return True
            try:
                for address in self.listen:
                    _exchange(address, self._host, _TRY_TIMEOUT_S)
            except (OSError, ValueError) as error:
                problem = str(error) or type(error).__name__
                return False
            return True

        reached = processes.wait_until(answers, timeout_s)
        if self.wait_ended(0):
            raise self._failed("ended before it answered")
        if not reached:
            raise self._failed(f"gives no correct reply after {timeout_s:g} s: {problem}")
        self.check_preloaded()

    def check_preloaded(self) -> None:
        """See that all its processes have the library that it was to be started with, if any. Raises ServerFailed.

        The loader leaves out what it cannot load, a program without a dynamic loader has none, and one that executes
        another may have emptied its environment.
        """
        if self._library is None:
            return
        if not preload.is_unchanged(self._library):
            raise self._failed(f"was started with {self._library.path}, which is not what it was when this run began")
        for pid in self.process_pids():
            try:
                mapped = preload.is_mapped(self._library, pid)
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended meanwhile
            except OSError as error:
                raise self._failed(f"has process {pid}, of which nobody can see what it loads: {error}") from error
            if not mapped and pid in self.process_pids():
                raise self._failed(f"runs without {self._library.path}, which it was to load (process {pid})")

    def wait_forked(self, workers: int) -> None:
        """Wait for the workers of a server that listens. One that has none waits for connections by now: it sleeps."""
        asleep_since_s = math.inf

        def forked_or_asleep() -> bool:
            nonlocal asleep_since_s
            asleep = processes.state(self.pid) == psutil.STATUS_SLEEPING
            asleep_since_s = min(asleep_since_s, time.monotonic()) if asleep else math.inf
            has_slept = time.monotonic() - asleep_since_s >= _FORKED_WITHIN_S
            return has_slept or self.wait_ended(0) or len(self.worker_pids()) >= workers

        processes.wait_until(forked_or_asleep, START_TIMEOUT_S)

    def answers(self, timeout_s: float) -> bool:
        """Tell whether a request to its first address gets a whole ``200`` reply in time."""

        def answers() -> bool:
            try:
                return bool(_exchange(self.listen[0], self._host, _TRY_TIMEOUT_S))
            except (OSError, ValueError):
                return False

        return processes.wait_until(answers, timeout_s)

    def sample_reply(self) -> bytes:
        """Return what it answers to a request, byte for byte. Raises ServerFailed when that is no ``200`` reply."""
        try:
            return _exchange(self.listen[0], self._host, START_TIMEOUT_S)  # there is no other try
        except (OSError, ValueError) as error:
            raise self._failed(f"gives no correct reply: {error}") from error

    def wait_ended(self, timeout_s: float) -> bool:
        """Wait until the process that was started has ended."""
        if self._process is not None and self._process.returncode is not None:
            return True
        return processes.wait_ended(self.pid, timeout_s)

    def send_signal(self, signal: Signals) -> None:
        """Send a signal to the process that was started, and to no other; to none when ``stop`` has been called."""
        if self._process is None or self._process.returncode is None:
            os.kill(self.pid, signal)

    def stop(self, signal: Signals = SIGTERM, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Ask the server to end, and return its exit status, negative for a signal as in ``subprocess``.

        After ``timeout_s`` it is killed. All that comes from it is killed in any case, what has forked away too.
        """
        if self._process is None:
            raise RuntimeError("the server was not started")
        if self._process.returncode is not None:
            return self._process.returncode
        try:
            self.send_signal(signal)
            self.wait_ended(timeout_s)
        finally:
            output_bound.forget(self)
            # Before the wait: as long as its exit status was not fetched, no other process can get its id.
            with suppress(ProcessLookupError):
                os.killpg(self.pid, SIGKILL)
            lineage.end(self.pid)
            status = self._process.wait()
        return status

    def kill(self, why: str) -> None:
        """Kill all that comes from it, before its time. ``stop`` has still to be called."""
        self.ended_by_harness = why
        lineage.end(self.pid)

    def _failed(self, what: str) -> ServerFailed:
        reason = f"it {self.ended_by_harness or what}: {self.last_words()}"
        whole = f"{self.implementation.name}{reason.removeprefix('it')} (command: {shlex.join(self.command)})"
        return ServerFailed(whole, reason)


_ENDINGS = (".log", ".out", ".err")


def _listened_on(pid: int, addresses: Collection[str]) -> set[str]:
    """List the addresses of the same families with a listener in the network namespace of a process."""
    # Where nobody listens on IPv6, the kernel seeks a first connection in its whole table: tens of milliseconds.
    tables = {("tcp6", socket.AF_INET6) if one.startswith("[") else ("tcp", socket.AF_INET) for one in addresses}
    found = set()
    for table, family in tables:
        try:
            with Path(f"/proc/{pid}/net/{table}").open() as lines:
                next(lines, None)
                for line in lines:
                    _, local, _, state, *_ = line.split(maxsplit=4)
                    if state != _LISTEN:
                        break  # listeners come first, and behind them may be thousands
                    found.add(_decoded(local, family))
        except (FileNotFoundError, ProcessLookupError):
            continue  # no IPv6 in this kernel; or the process has just ended, which the caller sees
    return found


def _decoded(text: str, family: socket.AddressFamily) -> str:
    """Decode ``0100007F:0050``: 32-bit words, each in the byte order of the machine."""
    host, _, port = text.partition(":")
    words = [int(host[i : i + 8], 16).to_bytes(4, sys.byteorder) for i in range(0, len(host), 8)]
    return ports.join(socket.inet_ntop(family, b"".join(words)), int(port, 16))


def _exchange(address: str, host: Host | None, timeout_s: float) -> bytes:
    """Send a request from where the server runs, and return the whole reply.

    Raises OSError, and ValueError for anything but a ``200`` reply.
    """
    target = ports.split(address)
    family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
    deadline_s = time.monotonic() + timeout_s
    with host.socket(family) if host else socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(timeout_s)
        client.connect(target)
        client.sendall(REQUEST)
        reply = b""
        while (length := _length(reply)) is None or len(reply) < length:
            client.settimeout(max(0.001, deadline_s - time.monotonic()))
            received = client.recv(65536)
            if not received:
                break
            reply += received
            if len(reply) > _MOST_REPLY_BYTES:
                raise ValueError(f"the reply has more than {_MOST_REPLY_BYTES:,} bytes")
    status_line = reply.partition(b"\r\n")[0]
    if not status_line.startswith(b"HTTP/1.") or status_line.split()[1:2] != [b"200"]:
        raise ValueError(f"the reply begins with {status_line[:60]!r}")
    if length is not None and len(reply) < length:
        raise ValueError(f"the reply ends after {len(reply)} of {length} bytes")
    return reply


def _length(reply: bytes) -> int | None:
    """Tell how long a reply is in all; None when its head does not say, or is not complete."""
    head, blank_line, _ = reply.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n")[1:] if blank_line else []:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length" and value.strip().isdigit() and len(value) <= _MOST_LENGTH_BYTES:
            return len(head) + len(blank_line) + int(value)
    return None
