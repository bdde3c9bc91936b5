"""The TCP counters of a testbed's hosts, and whether all that was sent has arrived."""

from collections.abc import Mapping
from dataclasses import dataclass

from harness import observe, processes
from harness.servers import ServerFailed
from harness.testbed import Testbed

ARRIVE_TIMEOUT_S = 5.0
_POLL_S = 0.0002
_NO_PROBES = ("net.ipv4.tcp_early_retrans", "0")
"""Where an acknowledgement waits for who is held, no probe (tail loss probe) is sent after some milliseconds."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the hosts have counted so far."""

    segments: Mapping[str, int]
    """Of the server's host, and of the backend's, by ``in``, ``out``, ``backend in`` and ``backend out``."""
    by_time: int
    """Segments that no request asked for: a delayed acknowledgement whose time ran out, and what was sent again."""


class Wire:
    """What goes from host to host."""

    def __init__(self, testbed: Testbed, *, with_backend: bool) -> None:
        """On loopback the hosts are one, and its counters everybody's: then nothing is told, or waited for.

        There a segment has arrived when the call that sends it returns.
        """
        hosts = [testbed.client, testbed.server, *([testbed.backend] if with_backend else [])]
        self._hosts = {host.name: host.proc_net for host in hosts if host.holder_pid is not None}
        for host in hosts:
            if host.name in self._hosts:
                host.set_sysctl(*_NO_PROBES)
        self._surplus = self._received_more()

    def wait_arrived(self) -> None:
        """Wait until the hosts have received as many segments as they have sent. Raises ServerFailed."""
        reached = processes.wait_until(
            lambda: self._received_more() >= self._surplus, ARRIVE_TIMEOUT_S, every_s=_POLL_S
        )
        if not reached:
            raise ServerFailed(f"segments are lost between the hosts: they have not arrived in {ARRIVE_TIMEOUT_S:g} s")

    def mark_rest(self) -> None:
        """Take note that nothing is under way: what was sent again by now was counted as received, and not as sent."""
        self._surplus = max(self._surplus, self._received_more())

    def traffic(self) -> Traffic:
        """Count."""
        counts = {name: observe.tcp_counts(path) for name, path in self._hosts.items()}
        delayed = sum(observe.delayed_acks(path) for path in self._hosts.values())
        segments = {}
        for name, prefix in (("server", ""), ("backend", "backend ")):
            if name in counts:
                segments[f"{prefix}in"] = counts[name].segments_in
                segments[f"{prefix}out"] = counts[name].segments_out
        return Traffic(segments, delayed + sum(each.retransmitted for each in counts.values()))

    def _received_more(self) -> int:
        """Tell how many more segments were received than sent, and never too many: what is received is read first."""
        received = [observe.tcp_counts(path).segments_in for path in self._hosts.values()]
        return sum(received) - sum(observe.tcp_counts(path).segments_out for path in self._hosts.values())
