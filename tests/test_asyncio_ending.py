"""A stream of asyncio's may end after it was reset, which nobody is to notice but who reads."""

import asyncio
import errno
import socket
from typing import Any

from impls.asyncio.ending import end_stream, is_late
from impls.listeners import RESET_ON_CLOSE

MORE_THAN_FITS = bytes(8_000_000)


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


class _Gone(socket.socket):
    """The other end has reset by the time that this one would end its stream."""

    def __init__(self, fileno: int) -> None:
        super().__init__(fileno=fileno)
        self.shutdown = socket.socket().shutdown  # type: ignore[method-assign]  # of one that is not connected


class _Ended(asyncio.Protocol):
    """Fails by itself when its connection is lost."""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  the library's signature
        raise OSError(errno.ENOTCONN, "by our own mistake")


async def _told(own_mistake: bool) -> bool:  # noqa: FBT001  a case
    """Have an exception handled by the loop; return what is said of it."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[dict[str, Any]] = loop.create_future()
    loop.set_exception_handler(lambda _, context: told.set_result(context))
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            gone = _Gone(ours.detach())
        gone.settimeout(0)
        theirs.settimeout(0)
        transport, _ = await loop.create_connection(_Ended if own_mistake else asyncio.Protocol, sock=gone)
        if own_mistake:
            transport.abort()
        else:
            transport.write(MORE_THAN_FITS)
            transport.write_eof()
            left = len(MORE_THAN_FITS)
            while left:
                left -= len(await loop.sock_recv(theirs, left))
        context = await told
        loop.set_exception_handler(lambda *_: None)
        transport.abort()
    return is_late(context)


def test_the_end_of_a_stream_came_too_late_only_where_the_library_tried_to_send_it() -> None:
    assert asyncio.run(_told(own_mistake=False))
    assert not asyncio.run(_told(own_mistake=True))
    assert not is_late({"message": "no exception at all"})
    assert not is_late({"exception": OSError(errno.EPIPE, "another error")})
