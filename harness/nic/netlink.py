"""What is asked of the kernel over netlink(7) about a device: its kind, its channels, its interrupt coalescing.

pyroute2 takes 0.2 s to load, so it is loaded when something is asked. What the kernel refuses is raised as OSError.
"""

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

_UNSUPPORTED = {errno.EOPNOTSUPP, errno.ENOSYS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """How many queues a device has that receive and send, only receive, only send, and how many it can have."""

    combined: int = 0
    rx: int = 0
    tx: int = 0
    max_combined: int = 0
    max_rx: int = 0
    max_tx: int = 0


class Netlink:
    """The kernel's answers about devices of the network namespace that this process is in."""

    def kind(self, device: str) -> str | None:
        """Tell what made a device that is no hardware, such as ``veth`` or ``bridge``; else None. Raises OSError."""
        from pyroute2 import IPRoute  # noqa: PLC0415  see above

        with _as_os_error(), IPRoute() as links:
            [link] = links.get_links(ifname=device)
            info = link.get_attr("IFLA_LINKINFO")
            return None if info is None else str(info.get_attr("IFLA_INFO_KIND"))

    def channels(self, device: str) -> Channels | None:
        """Tell of its queues; None where the driver does not let them be told or changed. Raises OSError."""
        from harness.nic import ethtool_messages as messages  # noqa: PLC0415  see above

        found = _get(messages.ChannelsMessage, messages.GET_CHANNELS, device)
        if found is None:
            return None
        return Channels(**{name: found[name] for name in Channels.__slots__ if name in found})

    def set_channels(self, device: str, kind: str, count: int) -> None:
        """Have so many queues of one kind: ``combined``, ``rx`` or ``tx``. Raises OSError."""
        from harness.nic import ethtool_messages as messages  # noqa: PLC0415  see above

        _ask(messages.ChannelsMessage, messages.SET_CHANNELS, device, {kind: count}, acknowledged=True)

    def coalescing(self, device: str) -> Mapping[str, int]:
        """Tell its coalescing by ethtool(8)'s names: ``rx-usecs``, ``adaptive-rx``… Empty where there is none.

        Times are in microseconds; ``adaptive-rx`` and ``adaptive-tx`` are 0 or 1. Raises OSError.
        """
        from harness.nic import ethtool_messages as messages  # noqa: PLC0415  see above

        found = _get(messages.CoalescingMessage, messages.GET_COALESCING, device) or {}
        return {name: value for name, value in found.items() if isinstance(value, int)}

    def set_coalescing(self, device: str, name: str, value: int) -> None:
        """Change one of these. Raises OSError."""
        from harness.nic import ethtool_messages as messages  # noqa: PLC0415  see above

        _ask(messages.CoalescingMessage, messages.SET_COALESCING, device, {name: value}, acknowledged=True)


def _get(kind: Any, command: int, device: str) -> dict[str, Any] | None:
    try:
        [answer] = _ask(kind, command, device, {}, acknowledged=False)
    except OSError as problem:
        if problem.errno in _UNSUPPORTED:
            return None
        raise
    return dict(attribute[:2] for attribute in answer["attrs"])


def _ask(kind: Any, command: int, device: str, values: Mapping[str, int], *, acknowledged: bool) -> Any:
    from pyroute2.netlink import NLM_F_ACK, NLM_F_REQUEST  # noqa: PLC0415  see above
    from pyroute2.netlink.generic import GenericNetlinkSocket  # noqa: PLC0415  see above

    message = kind()
    message["cmd"], message["version"] = command, 1
    header = {"attrs": [("ETHTOOL_A_HEADER_DEV_NAME", device)]}
    message["attrs"] = [("header", header), *values.items()]
    flags = NLM_F_REQUEST | (NLM_F_ACK if acknowledged else 0)
    with _as_os_error(), GenericNetlinkSocket() as ethtool:
        ethtool.bind("ethtool", kind)
        return ethtool.nlm_request(message, msg_type=ethtool.prid, msg_flags=flags)


@contextmanager
def _as_os_error() -> Iterator[None]:
    from pyroute2 import NetlinkError  # noqa: PLC0415  see above

    try:
        yield
    except NetlinkError as problem:
        raise OSError(problem.code, str(problem.args[1])) from problem
