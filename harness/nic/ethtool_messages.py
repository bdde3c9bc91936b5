"""Messages of ethtool's generic netlink family that pyroute2 lacks (linux/ethtool_netlink_generated.h).

The attributes are in the kernel's order, which gives them their numbers.
"""

from pyroute2.netlink import genlmsg
from pyroute2.netlink.generic.ethtool import ethtoolheader

GET_CHANNELS, SET_CHANNELS, GET_COALESCING, SET_COALESCING = 17, 18, 19, 20


class ChannelsMessage(genlmsg):  # type: ignore[misc]  # pyroute2 ships no types
    """How many queues there are, and may be."""

    nla_map = (
        ("unspecified", "none"),
        ("header", "ethtoolheader"),
        *((name, "uint32") for name in ("max_rx", "max_tx", "max_other", "max_combined")),
        *((name, "uint32") for name in ("rx", "tx", "other", "combined")),
    )
    ethtoolheader = ethtoolheader


class CoalescingMessage(genlmsg):  # type: ignore[misc]  # pyroute2 ships no types
    """How long a device waits before it interrupts; the attributes behind these are not needed here."""

    nla_map = (
        ("unspecified", "none"),
        ("header", "ethtoolheader"),
        ("rx-usecs", "uint32"),
        ("rx-frames", "uint32"),
        ("rx-usecs-irq", "uint32"),
        ("rx-frames-irq", "uint32"),
        ("tx-usecs", "uint32"),
        ("tx-frames", "uint32"),
        ("tx-usecs-irq", "uint32"),
        ("tx-frames-irq", "uint32"),
        ("stats-block-usecs", "uint32"),
        ("adaptive-rx", "uint8"),
        ("adaptive-tx", "uint8"),
    )
    ethtoolheader = ethtoolheader
