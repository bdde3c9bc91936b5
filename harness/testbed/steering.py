"""Receive packet steering (RPS): on which CPUs the kernel works on what a device has received.

A packet that goes through a veth pair is received in the sender's context, as on loopback, unless ``rps_cpus`` of the
receiving device names other CPUs (the kernel's Documentation/networking/scaling.rst). A device of a pair that was made
here has one receive queue.

Which of several CPUs gets a connection is drawn by the socket that sends: its packets, from the SYN on, carry a hash of
its own (``sk_txhash``, include/net/sock.h). They keep it on their way through the switch, which so takes the same CPU.
"""

from collections.abc import Iterable
from pathlib import Path

from harness.testbed import cpus as cpu_sets


def steer(device: str, cpus: Iterable[int]) -> None:
    """Set the CPUs that work on what the device receives; with none it is those of the senders. Raises OSError.

    The device is one that /sys shows in this process's mount namespace.
    """
    _path(device).write_text(cpu_sets.mask(cpus))


def steer_flows(device: str, entries: int) -> None:
    """Let the queue of the device remember the CPUs of so many connections, a power of two. Raises OSError."""
    _path(device, "rps_flow_cnt").write_text(f"{entries}")


def check(device: str) -> None:
    """Find out whether this process may steer, without changing anything. Raises OSError when not."""
    _path(device).write_text(_path(device).read_text())


def _path(device: str, name: str = "rps_cpus") -> Path:
    return Path(f"/sys/class/net/{device}/queues/rx-0/{name}")
