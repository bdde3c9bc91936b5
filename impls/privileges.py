"""Giving up what a process may do, once it has got what it needed it for."""

import ctypes
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_PR_SET_PDEATHSIG, _PR_GET_PDEATHSIG = 1, 2  # prctl(2)
_PR_SET_KEEPCAPS = 8
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_CAPABILITY_VERSION_3 = 0x20080522  # capset(2): two words for each of the three sets


@dataclass(frozen=True, slots=True)
class User:
    """Whom a process runs as."""

    name: str
    uid: int
    gid: int


def find_user(name: str) -> User:
    """Look a user up by name. Raises ValueError with one line that says what would be right."""
    try:
        entry = pwd.getpwnam(name)
    except (KeyError, ValueError):  # ValueError: a name with a zero byte
        raise ValueError(f"--user {name}: there is no such user; give one that 'getent passwd' shows") from None
    return User(name, entry.pw_uid, entry.pw_gid)


def become(user: User) -> None:
    """Run as a user from here on, with that user's groups, no capabilities and no way back.

    Who is that user already keeps its groups. Raises ValueError with one line when this process may not do that.
    """
    try:
        with _ending_as_before():
            if os.getresuid() != (user.uid, user.uid, user.uid):
                os.initgroups(user.name, user.gid)
                os.setresgid(user.gid, user.gid, user.gid)
                os.setresuid(user.uid, user.uid, user.uid)
            _drop_capabilities()
    except OSError as error:
        raise ValueError(
            f"--user {user.name}: this process may not become another user: {error.strerror}; start it as root, or as "
            f"{user.name} without --user"
        ) from None


def _drop_capabilities() -> None:
    """Have no capability, and get none by what is executed (capabilities(7)). Raises OSError.

    A change of user alone leaves some: the inheritable ones, and all where that was no change from root.
    """
    _prctl(_PR_SET_KEEPCAPS, 0)
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    if ctypes.CDLL(None, use_errno=True).capset(header, (ctypes.c_uint32 * 6)()):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _prctl(option: int, value: int) -> None:
    """Set something of this process (prctl(2)). Raises OSError."""
    arguments = [ctypes.c_ulong(argument) for argument in (value, 0, 0, 0)]
    if ctypes.CDLL(None, use_errno=True).prctl(option, *arguments):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextmanager
def _ending_as_before() -> Iterator[None]:
    """Keep the signal that this process gets when its parent ends: the kernel forgets it with a change of user."""
    prctl, parent = ctypes.CDLL(None).prctl, os.getppid()
    number = ctypes.c_int()
    prctl(_PR_GET_PDEATHSIG, ctypes.byref(number), 0, 0, 0)
    yield
    prctl(_PR_SET_PDEATHSIG, number.value, 0, 0, 0)
    if number.value and os.getppid() != parent:
        os.kill(os.getpid(), number.value)
