"""Libraries that servers are started with in LD_PRELOAD: found, looked at, and seen in the processes.

What the dynamic loader cannot load it leaves out with a line on standard error, and the program runs without
(ld.so(8)). So whether a process has a library is looked up in what the kernel has mapped for it.
"""

import functools
import hashlib
import os
import struct
from pathlib import Path
from typing import NamedTuple

from harness.errors import BadInput
from harness.plain_file import opened
from harness.registry import is_name
from harness.schema import Library
from harness.variants import RESERVED

_SPECIAL = frozenset(" :$")
"""In LD_PRELOAD the first two divide one library from the next, and what follows the third is replaced (ld.so(8))."""
_HEADER = struct.Struct("=4s3B9xHH")
"""The beginning of ELF: magic number, class, order of bytes, version; type and machine (elf(5))."""
_MAGIC, _SHARED_OBJECT = b"\x7fELF", 3
_OWN_PROGRAM = Path("/proc/self/exe")


class _Contents(NamedTuple):
    size_bytes: int
    sha256: str


def describe(text: str) -> Library:
    """Find the library that ``LIBRARY=PATH`` or ``PATH`` stands for; by itself ``libfsocket.so.1`` is called fsocket.

    Raises BadInput when there is none that a program of this machine could load, and for a name that cannot be one.
    """
    given, equals, rest = text.partition("=")
    name, path = (given, Path(rest)) if equals and "/" not in given else (_stem(Path(text)), Path(text))
    try:
        with opened(path) as file:
            beginning = file.read(_HEADER.size)
        resolved = path.resolve()
        _check(text, name, str(resolved), beginning)
        contents = _contents(resolved)
    except FileNotFoundError:
        raise BadInput(f"{text!r}: there is no such file; give the path of a shared library") from None
    except ValueError as error:  # a NUL in it
        raise BadInput(f"{text!r}: is no path: {error}; give the path of a shared library") from None
    return Library(name=name, path=str(resolved), size_bytes=contents.size_bytes, sha256=contents.sha256)


def is_unchanged(library: Library) -> bool:
    """Tell whether its file still holds what it held."""
    try:
        return _contents(Path(library.path)).sha256 == library.sha256
    except (OSError, ValueError, BadInput):  # ValueError: a NUL in the path
        return False


def is_mapped(library: Library, pid: int) -> bool:
    """Tell whether a process has it loaded. Raises OSError when that cannot be seen, or the process has ended."""
    with Path(f"/proc/{pid}/maps").open(errors="replace") as lines:
        return any(line.endswith(f" {library.path}\n") for line in lines)


def _check(text: str, name: str, path: str, beginning: bytes) -> None:
    """Raise BadInput, before the whole of a file is read, where it can be no library or have no such name."""
    if not _SPECIAL.isdisjoint(path) or not path.isprintable():
        raise BadInput(f"{text!r}: LD_PRELOAD takes no path with blanks, ':' or '$' in it; put the library elsewhere")
    if not _is_loadable(beginning):
        raise BadInput(f"{text!r}: is no shared library for this machine; give one such as libfsocket.so")
    if not is_name(name):
        raise BadInput(f"{text!r}: give LIBRARY=PATH, LIBRARY of 1 to 100 letters, digits, '_', '.' and '-'")
    if name in RESERVED:
        raise BadInput(f"{text!r}: +{name} is a variant already; give LIBRARY=PATH with another name")


def _contents(path: Path) -> _Contents:
    """Tell what a file holds; it is read again when the kernel says that it has changed. Raises as ``opened``."""
    with opened(path) as file:
        now = os.fstat(file.fileno())
    return _read(path, (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns))


@functools.lru_cache
def _read(path: Path, _state: tuple[int, ...]) -> _Contents:
    with opened(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return _Contents(file.tell(), digest)


def _stem(path: Path) -> str:
    return path.name.partition(".so")[0].removeprefix("lib")


def _is_loadable(beginning: bytes) -> bool:
    """Tell whether that is how a shared library begins which has the machine and the format of this very program."""
    with _OWN_PROGRAM.open("rb") as file:
        own = _HEADER.unpack(file.read(_HEADER.size))
    if len(beginning) < _HEADER.size:
        return False
    found = _HEADER.unpack(beginning)
    return found[:4] == own[:4] and found[0] == _MAGIC and found[4] == _SHARED_OBJECT and found[5] == own[5]
