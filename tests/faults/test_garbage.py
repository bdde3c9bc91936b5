"""Memory: what is over is given back at once, and not when the collector has a look at last."""

import shlex
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pytest

from harness import ports
from harness.registry import Implementation, find
from harness.resources import held
from tests.faults.limited import REPLY, exchange, running
from tests.peers import serving

FEW, MANY = 100, 400
MOST_BYTES = 1024
"""Of memory that a connection may leave, on average; a kept one through gevent's proxy once left 5 kB."""
_UNCOLLECTED = "import gc, runpy; gc.disable(); runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"


def _twice(connection: socket.socket) -> None:
    """Answer two requests, then end the connection, while the client's stays."""
    for _ in range(2):
        connection.recv(4096)
        connection.sendall(REPLY)


@contextmanager
def _backend(flags: Sequence[str]) -> Iterator[list[str]]:
    with serving(_twice) as (host, port):
        yield [*flags, "-x", ports.join(host, port)]


MODES: dict[str, Callable[[], AbstractContextManager[list[str]]]] = {
    "short": lambda: nullcontext([]),
    "keepalive": lambda: nullcontext(["-k"]),
    "proxy": lambda: _backend([]),
    "kept proxy": lambda: _backend(["-k"]),
}


@pytest.mark.modes(*MODES, others=tuple(MODES), lean=())
def test_nothing_is_ever_collected__a_connection_that_is_over_keeps_no_memory(
    impl: Implementation, mode: str, tmp_path: Path
) -> None:
    program = _UNCOLLECTED.format(module=f"impls.{impl.name}")
    [uncollected] = find("none", [f"uncollected={shlex.join([sys.executable, '-c', program])}"])
    with MODES[mode]() as flags, running(uncollected, flags, tmp_path) as up:

        def connections(count: int) -> int:
            for _ in range(count):
                with up.connect() as client:
                    assert b" 200 " in exchange(client)
                    if "-k" in flags:
                        assert b" 200 " in exchange(client)
                    if flags == ["-k"]:
                        client.shutdown(socket.SHUT_WR)
                    while client.recv(4096):
                        pass
            return held(up.worker).allocated_bytes

        before = connections(FEW)
        assert (connections(MANY) - before) / MANY < MOST_BYTES
