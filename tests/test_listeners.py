"""Opening listeners: what goes wrong, and what another server does at the same moment."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from harness import ports
from impls import flags, listeners
from impls.contract import Options
from impls.listeners import open_listeners


@pytest.fixture
def options() -> Iterator[Options]:
    with ports.reserve("127.0.0.1") as address:
        yield flags.parse(
            ["-w", "2", "--oversubscribe", "--listen", "reuseport", "-a", address], "x", "", exclusive=True
        )


def close(opened: tuple[listeners.Listeners, ...]) -> None:
    for of_one in opened:
        for listener in of_one:
            listener.close()


def test_of_two_servers_that_have_bound_a_port_the_second_to_listen_is_refused(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen = socket.socket.listen

    def listen_as_second(bound: socket.socket, backlog: int) -> None:
        monkeypatch.setattr(socket.socket, "listen", listen)
        first = open_listeners(options)
        try:
            listen(bound, backlog)
        finally:
            close(first)

    monkeypatch.setattr(socket.socket, "listen", listen_as_second)
    with pytest.raises(ValueError, match="the port is in use"):
        open_listeners(options)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_want_of_descriptors_is_told_and_what_was_opened_is_closed(
    number: int, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = socket.create_server(("127.0.0.1", 0))
    opening = iter([first])

    def open_one(*_: object, **__: object) -> socket.socket:
        for opened in opening:
            return opened
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(listeners, "_open", open_one)
    with closing(first):
        with pytest.raises(ValueError, match=r"oo many open files.*; give fewer addresses or workers"):
            open_listeners(options)
        assert first.fileno() == -1
