"""Devices of the network namespace that this process is in, by rtnetlink(7). Problems are raised as OSError."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pyroute2 import IPRoute, NetlinkError

from harness.testbed.door import DEVICE

_SWITCH = "switch"


def make_switch(holder_pids: Mapping[str, int]) -> None:
    """Make a bridge here, and join it to each host, known by a process in its namespace, with a veth pair."""
    with _rtnetlink("making a bridge") as links:
        links.link("add", ifname=_SWITCH, kind="bridge", state="up")
        [bridge] = links.link_lookup(ifname=_SWITCH)
    for host, pid in holder_pids.items():
        peer = {"ifname": DEVICE, "net_ns_pid": pid}
        with _rtnetlink("making a veth pair") as links:
            links.link("add", ifname=host, kind="veth", master=bridge, state="up", peer=peer)


def set_up_host(address: str, prefix_length: int) -> None:
    """Bring up a host's devices, and give it its address."""
    with _rtnetlink("setting up a host") as links:
        for name in ("lo", DEVICE):
            [index] = links.link_lookup(ifname=name)
            links.link("set", index=index, state="up")
        links.addr("add", index=index, address=address, prefixlen=prefix_length, family=socket.AF_INET)


@contextmanager
def _rtnetlink(what: str) -> Iterator[IPRoute]:
    try:
        with IPRoute() as links:
            yield links
    except NetlinkError as problem:
        raise OSError(problem.code, f"{what}: {problem.args[1]}") from problem
