"""An address that is reserved is nobody else's, and a server can have it."""

import socket
from contextlib import ExitStack

import pytest

from harness import ports


def test_reservations_differ_and_can_be_listened_on_without_reuse_address() -> None:
    with ExitStack() as stack:
        addresses = [stack.enter_context(ports.reserve("127.0.0.1")) for _ in range(50)]
        assert len({ports.split(address)[0] for address in addresses}) == len(addresses)
        for address in addresses:
            with socket.socket() as listener:
                listener.bind(ports.split(address))
                listener.listen()


def draw_first(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let these be drawn first, and then whatever comes."""
    drawn, draw = list(addresses), ports._candidate
    monkeypatch.setattr(ports, "_candidate", lambda host: (socket.AF_INET, drawn.pop(0)) if drawn else draw(host))


def test_a_reserved_address_is_not_given_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with ports.reserve("127.0.0.1") as address:
        draw_first(monkeypatch, address)
        with ports.reserve("127.0.0.1") as other:
            assert other != address


def test_no_other_port_of_a_reserved_loopback_address_is_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with ports.reserve("127.0.0.1") as address:
        host, port = ports.split(address)
        draw_first(monkeypatch, ports.join(host, port - 1))
        with ports.reserve("127.0.0.1") as other:
            assert ports.split(other)[0] != host


def test_an_address_in_use_is_not_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = ports.join(*listener.getsockname())
        draw_first(monkeypatch, taken)
        with ports.reserve("127.0.0.1") as address:
            assert address != taken


def test_a_foreign_host_cannot_be_reserved() -> None:
    with pytest.raises(OSError, match="assign"), ports.reserve("192.0.2.1"):
        pass


@pytest.mark.parametrize(("host", "port", "text"), [("127.0.0.1", 80, "127.0.0.1:80"), ("::1", 81, "[::1]:81")])
def test_addresses_are_written_and_read_alike(host: str, port: int, text: str) -> None:
    assert ports.join(host, port) == text
    assert ports.split(text) == (host, port)
