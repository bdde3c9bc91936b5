"""Which CPU receives what is sent over loopback: that of who sends, as the kernel puts it into that CPU's own queue."""

import os
from pathlib import Path

from harness.conformance.violation import RequirementMissing

_RECEIVE_QUEUES = Path("/sys/class/net/lo/queues")


def two_cpus() -> tuple[int, int]:
    """Choose two CPUs that each receive what is sent from them. Raises RequirementMissing where there are none."""
    first, *others = sorted(os.sched_getaffinity(0))
    if not others:
        raise RequirementMissing("it takes two CPUs, and this process may use one")
    for path in _RECEIVE_QUEUES.glob("rx-*/rps_cpus"):
        if path.read_text().strip("0,\n"):
            raise RequirementMissing(f"{path} has other CPUs receive what one sends over loopback")
    return first, others[0]
