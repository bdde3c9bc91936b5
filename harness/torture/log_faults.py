"""Logs that are removed, or on a full device, and SIGHUP, once or many times at once."""

import asyncio
import signal
from pathlib import Path

from harness import processes
from harness.torture.ledger import Ledger
from harness.torture.victim import Victim

FULL = Path("/dev/full")
"""Every write to it fails as on a full disk (full(4))."""
REOPENED_WITHIN_S = 3.0
_STORM = 50


async def remove(victim: Victim, ledger: Ledger) -> None:
    """Remove the log, as a rotation does, and ask for a new one."""
    victim.server.log_path.unlink(missing_ok=True)
    victim.server.send_signal(signal.SIGHUP)
    ledger.fault("logs removed, and SIGHUP", victim.name)
    if not await asyncio.to_thread(processes.wait_until, lambda: _is_written(victim), REOPENED_WITHIN_S):
        waited = f"within {REOPENED_WITHIN_S:g} s after the old one was removed, and SIGHUP"
        ledger.find(f"{victim.name}: no new log that is written to {waited}")


def _is_written(victim: Victim) -> bool:
    """Tell whether there is a log, and with -d, which logs every read, something in it."""
    try:
        size = victim.server.log_path.stat().st_size
    except FileNotFoundError:
        return False
    return size > 0 or "-d" not in victim.target.way.flags


async def fill(victim: Victim, full_s: float, ledger: Ledger) -> None:
    """Put the log on a full device for some time."""
    log = victim.server.log_path
    log.unlink(missing_ok=True)
    log.symlink_to(FULL)
    victim.server.send_signal(signal.SIGHUP)
    ledger.fault("logs on a full device, and SIGHUP", victim.name)
    await asyncio.sleep(full_s)
    await remove(victim, ledger)


async def storm(victim: Victim, ledger: Ledger) -> None:
    """Send SIGHUP again and again."""
    for _ in range(_STORM):
        victim.server.send_signal(signal.SIGHUP)
        await asyncio.sleep(0)
    ledger.fault(f"storms of {_STORM} SIGHUP", victim.name)
