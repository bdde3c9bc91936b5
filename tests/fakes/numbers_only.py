"""Addresses are those of IPv4, in numbers: neither IPv6 nor a name will do."""

import socket

from impls import flags
from impls.addresses import Address, resolve, split
from tests.fakes._alter import replace, run

REJECTED_BY = {"LISTEN-IPV6", "PROXY-HOST-NAME"}


def resolve_numbers(text: str) -> Address:
    host, _ = split(text)
    try:
        socket.inet_pton(socket.AF_INET, host)
    except OSError:
        raise ValueError("not an IPv4 address") from None
    return resolve(text)


if __name__ == "__main__":
    replace(flags, "resolve", resolve_numbers)
    run()
