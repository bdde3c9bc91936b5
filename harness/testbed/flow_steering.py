"""Receive flow steering (RFS): a connection's packets are received on the CPU of the process that reads it.

Receive packet steering alone (``steering.py``) spreads connections over the CPUs that it names. With RFS the kernel
notes at each accept(2), read and write of an established connection on which CPU that is (``sock_rps_record_flow``), by
the hash of the packets that the connection receives, in one table for the whole machine
(net.core.rps_sock_flow_entries). A receive queue with a table of its own (rps_flow_cnt) takes the CPU that was noted
last, be it one that packet steering names or not; what was not noted goes where packet steering has it. A connection
moves when what was queued for it on its old CPU has been worked off (``get_rps_cpu``, net/core/dev.c). Where two have
one entry, who was noted last is found, and the other is steered as without.
"""

from contextlib import ExitStack

from harness.errors import BadInput
from harness.machine_setting import SOCK_FLOW_ENTRIES
from harness.testbed.netns import Netns

ENTRIES = 32_768
"""Of both tables, as the kernel's Documentation/networking/scaling.rst has it for a device with one queue."""
NOTE = "receive flow steering on the server's host: packets of a connection go to the CPU of the process that reads it"


def check() -> None:
    """Find out, before anything is started, whether it can be switched on. Raises BadInput when not."""
    try:
        SOCK_FLOW_ENTRIES.check()
    except OSError as problem:
        raise _refused(problem) from problem


def switch_on(stack: ExitStack, testbed: Netns) -> None:
    """Have it on the server's host until the stack ends. Raises BadInput."""
    try:
        testbed.server.steer_flows(ENTRIES)
        stack.enter_context(SOCK_FLOW_ENTRIES.switched_on(ENTRIES))
    except OSError as problem:
        raise _refused(problem) from problem
    testbed.notes = (*testbed.notes, NOTE)


def _refused(problem: OSError) -> BadInput:
    where = f"{problem.filename}: " if problem.filename else ""
    return BadInput(
        f"--rfs: receive flow steering cannot be set up here: {where}{problem.strerror or problem}; it takes root, "
        "outside of containers, whose network has no such setting; or leave --rfs out"
    )
