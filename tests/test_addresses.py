"""Addresses on the servers' command line."""

import socket

import pytest

from impls.addresses import resolve


@pytest.mark.parametrize(
    ("text", "family", "host", "port"),
    [
        ("127.0.0.1:80", socket.AF_INET, "127.0.0.1", 80),
        ("0.0.0.0:65535", socket.AF_INET, "0.0.0.0", 65535),  # noqa: S104  only parsed here
        ("[::1]:8080", socket.AF_INET6, "::1", 8080),
        ("localhost:1", None, None, 1),
    ],
)
def test_resolves(text: str, family: int | None, host: str | None, port: int) -> None:
    address = resolve(text)
    assert address.port == port
    if family is not None:
        assert (address.family, address.host) == (family, host)
        assert str(address) == text


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("127.0.0.1", "IP:PORT"),
        (":80", "IP:PORT"),
        ("127.0.0.1:", "port"),
        ("127.0.0.1:0", "1 to 65535"),
        ("127.0.0.1:65536", "1 to 65535"),
        ("127.0.0.1:8O", "1 to 65535"),
        ("127.0.0.1:+80", "1 to 65535"),
        ("127.0.0.1:٣", "1 to 65535"),
        ("::1:80", "brackets"),
        ("no.such.host.invalid:80", "no.such.host.invalid"),
        ("a..b:80", "host"),
        ("x" * 300 + ":80", "host"),
    ],
)
def test_refuses_with_a_reason(text: str, named: str) -> None:
    with pytest.raises(ValueError, match=named) as caught:
        resolve(text)
    assert "\n" not in str(caught.value)
