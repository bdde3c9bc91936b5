"""A stream of asyncio's may end after it was reset, which nobody is to notice but who reads."""

import asyncio
import socket

from impls.asyncio.ending import end_stream, is_late
from impls.listeners import RESET_ON_CLOSE


class _Noting(asyncio.Protocol):
    def __init__(self, lost: "asyncio.Future[Exception | None]") -> None:
        self.lost = lost

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


async def _end_after_a_reset() -> Exception | None:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    lost: asyncio.Future[Exception | None] = loop.create_future()
    transport, _ = await loop.connect_accepted_socket(lambda: _Noting(lost), accepted)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    peer.close()
    end_stream(transport)
    return await lost


def test_the_end_of_a_stream_that_was_reset_fails_nowhere_and_reading_tells_of_the_reset() -> None:
    assert isinstance(asyncio.run(_end_after_a_reset()), ConnectionResetError)


def test_another_failure_is_not_that() -> None:
    assert not is_late(BrokenPipeError(32, "Broken pipe"))
    assert not is_late(None)
