"""Workers that are killed, or stopped for a moment."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from harness import processes
from harness.conformance import sock_diag
from harness.resources import socket_inodes
from harness.torture.judge import Pause
from harness.torture.ledger import Ledger
from harness.torture.victim import Victim

REPLACED_WITHIN_S = 3.0
"""The contract says a second; the rest is for a busy machine."""
_STOPPED_WITHIN_S, _LOOK_EVERY_S = 1.0, 0.0005


async def pause(victim: Victim, pid: int, pause_s: float, ledger: Ledger) -> None:
    """Stop a worker for a moment. Whoever waits gets his reply later; but what a dead backend explains lasts longer."""
    with suppress(ProcessLookupError), _stopped(victim, pid, ledger):
        ledger.fault("workers stopped for a moment", f"{victim.name} {pid}")
        await asyncio.sleep(pause_s)


async def kill(victim: Victim, pid: int, ledger: Ledger) -> float | None:
    """Kill a worker, note which connections it held, and return how long it took until another one was there, in s.

    None when it was not killed: it has ended by itself, or the machine was too busy to stop it.
    """
    try:
        with _stopped(victim, pid, ledger):
            if not await _is_stopped(pid):
                return None
            # It can accept nothing more, so what it holds now is what dies with it; nothing is awaited between these.
            _mark(victim, socket_inodes(pid))
            os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        ledger.find(f"{victim.name}: worker {pid} has ended by itself")
        return None
    ledger.fault("workers killed", f"{victim.name} {pid}")
    began_s = time.monotonic()
    if not await victim.wait_replaced(pid, REPLACED_WITHIN_S):
        ledger.find(f"{victim.name}: no other worker within {REPLACED_WITHIN_S:g} s after one was killed")
    return time.monotonic() - began_s


@contextmanager
def _stopped(victim: Victim, pid: int, ledger: Ledger) -> Iterator[None]:
    """Have a worker stopped meanwhile, which its server's account knows. Raises ProcessLookupError."""
    pause = Pause(victim.name, time.monotonic())
    ledger.pauses.append(pause)
    try:
        os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
        pause.end_s = time.monotonic()


async def _is_stopped(pid: int) -> bool:
    """Wait until a process is stopped; False when it is not in time."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + _STOPPED_WITHIN_S
    while processes.state(pid) != psutil.STATUS_STOPPED:
        if loop.time() > end_s:
            return False
        await asyncio.sleep(_LOOK_EVERY_S)  # the kernel tells its parent alone
    return True


def _mark(victim: Victim, inodes: set[int]) -> None:
    """Let the connections whose server's end is among these sockets know that their worker was killed."""
    for carrier in victim.target.carriers:
        with suppress(OSError):  # it has ended already
            found = sock_diag.find(victim.target.endpoint, carrier.endpoint)
            carrier.worker_killed = carrier.worker_killed or (found is not None and found.inode in inodes)
