"""Servers of which something is broken: a worker's program, or what the parent has of the machine."""

import shlex
import sys
from pathlib import Path

from harness.registry import ROOT, Implementation, find

SERVES = "from impls.epoll_raw.server import serve as go; go(worker)"
_REFUSED = (
    "import errno, os; fork = os.fork\n"
    "def refused():\n"
    "    try: tries = os.open({tries!r}, os.O_WRONLY | os.O_APPEND)\n"
    "    except FileNotFoundError: return fork()\n"
    "    os.write(tries, b'x')\n"
    "    os.close(tries)\n"
    "    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))\n"
    "os.fork = refused\n"
)


def broken(code: str, first: str = "") -> Implementation:
    """Make an implementation of which ``serve(worker)`` is one line of code; other code runs before."""
    text = (
        f"{first}import os, signal; from impls.prefork import main\n"
        f"def serve(worker):\n    {code}\nmain('broken', serve, '')"
    )
    [made] = find("none", [f"broken={shlex.join([sys.executable, '-c', text])}"])
    return Implementation(made.name, made.argv, ROOT, external=True)


def without_processes_while(tries: Path) -> Implementation:
    """Make one that can start no process while there is a file, which gets a letter for each try."""
    return broken(SERVES, _REFUSED.format(tries=str(tries)))
