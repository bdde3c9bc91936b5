"""Giving up what a process may do, once it has got what it needed it for."""

import ctypes
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_PR_SET_PDEATHSIG, _PR_GET_PDEATHSIG = 1, 2  # prctl(2)


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
    """Run as a user from here on, with that user's groups and no way back.

    Raises ValueError with one line when this process may not do that.
    """
    if (os.getuid(), os.geteuid()) == (user.uid, user.uid):
        return
    try:
        with _ending_as_before():
            os.initgroups(user.name, user.gid)
            os.setresgid(user.gid, user.gid, user.gid)
            os.setresuid(user.uid, user.uid, user.uid)
    except OSError as error:
        raise ValueError(
            f"--user {user.name}: this process may not become another user: {error.strerror}; start it as root, or as "
            f"{user.name} without --user"
        ) from None


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
