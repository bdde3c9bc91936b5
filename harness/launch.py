"""Becomes a command that does not outlive the harness.

``python -I -S launch.py PARENT NAMESPACE CPUS CAPABILITY LIBRARY COMMAND…``

PARENT is the process id of the harness. NAMESPACE is a process whose network namespace the command is to be in, CPUS
(as in ``0,2``) are those it may use, CAPABILITY is one that it shall not have, by number, LIBRARY is to be in its
LD_PRELOAD; ``-`` leaves each as it is.

The kernel can end a process together with its parent (PR_SET_PDEATHSIG), also when the parent is killed with -9
and has no chance to clean up. Three things about it are strange, and all are taken care of:

- A parent that ended before the request is not noticed. So the parent's id is compared after the request.
- "Parent" means the *thread* that forked (prctl(2)). A thread pool's threads end before the process does, so
  ``harness.processes`` forks every server from one thread that lives as long as the harness.
- It is forgotten when credentials change (prctl(2)), and entering a user namespace changes them. So namespaces are
  entered first.

The request survives execve(2), which makes the command the very process that was started: no wrapper stands between.
"""

import ctypes
import os
import signal
import sys
from typing import NoReturn

_PR_SET_PDEATHSIG = 1
_PR_CAPBSET_DROP = 24
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_LOWER = 3
_ANY_NAMESPACE = 0
PART = "PERCORE_PART"
"""The environment variable by which all that comes from the command is known: its process id (``lineage.py``)."""
CANNOT_START = 127
"""The status a shell gives, too, when a command cannot be run."""


def main(parent: str, namespace: str, cpus: str, capability: str, library: str, *command: str) -> NoReturn:
    """Bind this process to its parent and to its limits, then become the command."""
    if namespace != "-":
        _enter(namespace)
    end_with(int(parent))
    if cpus != "-":
        os.sched_setaffinity(0, {int(cpu) for cpu in cpus.split(",")})
    if capability != "-":
        _give_up(int(capability))
    if library != "-":
        _preload(library)
    os.environ[PART] = str(os.getpid())
    try:
        os.execvp(command[0], command)  # noqa: S606  the command that the user named
    except OSError as error:
        sys.stderr.write(f"launch: {command[0]!r} cannot be run: {error.strerror}\n")
        sys.exit(CANNOT_START)


def end_with(parent: int) -> None:
    """Let the kernel kill this process when its parent ends; end at once when it has ended already."""
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("launch: the harness ended before its server began")


def _enter(holder: str) -> None:
    """Enter the network namespace of a process, and before it the user namespace that gives the right to do so."""
    libc = ctypes.CDLL(None, use_errno=True)
    for kind in ("user", "net"):
        path = f"/proc/{holder}/ns/{kind}"
        if kind == "user" and os.readlink(path) == os.readlink("/proc/self/ns/user"):  # noqa: PTH115  no pathlib here
            continue  # setns(2) refuses the one that a process is in already
        namespace = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        if libc.setns(namespace, _ANY_NAMESPACE):
            raise OSError(ctypes.get_errno(), f"setns({path}): {os.strerror(ctypes.get_errno())}")
        os.close(namespace)


def _give_up(capability: int) -> None:
    """Keep a capability from what is executed next (capabilities(7)): root regains all that the bounding set holds."""
    prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_LOWER, capability)
    if os.geteuid() == 0:
        prctl(_PR_CAPBSET_DROP, capability)


def _preload(library: str) -> None:
    """Add a library to those that are loaded before all others into what is executed next (ld.so(8))."""
    others = os.environ.get("LD_PRELOAD")
    os.environ["LD_PRELOAD"] = f"{others}:{library}" if others else library


def prctl(option: int, *arguments: int) -> None:
    """Set something of this process (prctl(2)). Raises OSError."""
    padded = [ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0, 0)[:4]]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, *padded):
        raise OSError(ctypes.get_errno(), f"prctl({option}): {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    main(*sys.argv[1:])
