"""A backend of torture, on a connection of its own."""

import asyncio
import socket
from pathlib import Path

import pytest

from harness import ports
from harness.torture import backend as backends
from harness.torture.backend import Backend
from harness.torture.content import Content
from harness.torture.exchange import Exchange
from harness.torture.ledger import Ledger
from harness.torture.script import Script
from harness.torture.way import WAYS

_, _, PROXY, _ = WAYS
SILENT_S = 1.0
AT_ONCE_S = 0.5


def test_one_that_is_to_be_silent_is_so_when_its_client_half_closes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "SILENT_S", SILENT_S)
    content, script = Content(1), Script(request_bytes=10, reply_bytes=10, act="fall silent")
    request = content.request(b"id", 10)
    exchange = Exchange(b"id", PROXY, script, request, content.reply(b"id", 10, with_length=True))

    async def heard() -> tuple[bool, bytes]:
        """Tell whether it said or did nothing for some time, and what came then."""
        loop = asyncio.get_running_loop()
        with ports.reserve("127.0.0.1") as address, socket.socket() as client:
            backend = Backend(address, {b"id": exchange}, Ledger(tmp_path, 1))
            backend.listen()
            try:
                client.connect(ports.split(address))
                client.setblocking(False)  # noqa: FBT003  the standard library's signature
                await loop.sock_sendall(client, request)
                client.shutdown(socket.SHUT_WR)
                done, waiting = await asyncio.wait([asyncio.create_task(loop.sock_recv(client, 99))], timeout=AT_ONCE_S)
                [received] = done or waiting
                return not done, await asyncio.wait_for(received, 30)
            finally:
                await backend.die()

    assert asyncio.run(heard()) == (True, b"")
    assert exchange.cut == "silent"
