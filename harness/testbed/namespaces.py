"""Namespaces of the kernel (namespaces(7)) without a name: each goes when the last process in it has ended."""

import ctypes
import os
from pathlib import Path

_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWNET = 0x0002_0000, 0x1000_0000, 0x4000_0000
_MS_REC, _MS_PRIVATE = 0x4000, 1 << 18


def unshare_network() -> None:
    """Move this process into a network and a mount namespace of its own. Raises OSError; EPERM takes privileges."""
    _check("unshare", _libc().unshare(_CLONE_NEWNET | _CLONE_NEWNS))


def unshare_user() -> None:
    """Move this process, which must have one thread, into a user namespace in which it is root. Raises OSError.

    That gives the right to make other namespaces and to rule in them, and no more.
    """
    user, group = os.geteuid(), os.getegid()
    _check("unshare", _libc().unshare(_CLONE_NEWUSER))
    # Whoever may map a group to another must have given up setgroups(2) first (user_namespaces(7)).
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")


def mount_sysfs() -> None:
    """Show the devices of this network namespace under /sys, in this mount namespace alone. Raises OSError.

    A sysfs shows the devices of the network namespace that it was mounted in.
    """
    _mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE)
    _mount(b"sysfs", b"/sys", b"sysfs", 0)


def _mount(source: bytes, target: bytes, kind: bytes | None, flags: int) -> None:
    _check(f"mount {target.decode()}", _libc().mount(source, target, kind, ctypes.c_ulong(flags), None))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(what: str, result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
