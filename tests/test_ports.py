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


def test_a_reserved_address_is_not_given_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with ports.reserve("127.0.0.1") as address:
        candidates = iter([(socket.AF_INET, address), (socket.AF_INET, "127.0.0.2:19999")])
        monkeypatch.setattr(ports, "_candidate", lambda _host: next(candidates))
        with ports.reserve("127.0.0.1") as other:
            assert other != address


def test_an_address_in_use_is_not_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = ports.join(*listener.getsockname())
        candidates = iter([(socket.AF_INET, taken), (socket.AF_INET, "127.0.0.3:19999")])
        monkeypatch.setattr(ports, "_candidate", lambda _host: next(candidates))
        with ports.reserve("127.0.0.1") as address:
            assert address != taken


def test_a_foreign_host_cannot_be_reserved() -> None:
    with pytest.raises(OSError, match="assign"), ports.reserve("192.0.2.1"):
        pass


@pytest.mark.parametrize(("host", "port", "text"), [("127.0.0.1", 80, "127.0.0.1:80"), ("::1", 81, "[::1]:81")])
def test_addresses_are_written_and_read_alike(host: str, port: int, text: str) -> None:
    assert ports.join(host, port) == text
    assert ports.split(text) == (host, port)
