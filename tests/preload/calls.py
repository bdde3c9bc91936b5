"""What a server calls of libc, noted by a small library in its LD_PRELOAD that is compiled here (``calls.c``)."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ADD, DELETE = 1, 2
"""Operations of epoll_ctl(2)."""
_SOURCE = Path(__file__).with_name("calls.c")


@dataclass(frozen=True, slots=True)
class Call:
    """One line of what the library has noted."""

    pid: int
    cpu: int
    name: str
    fd: int
    result: int
    operation: int

    @property
    def calls_accept(self) -> bool:
        """Whether it looks for a connection."""
        return self.name in {"accept", "accept4"}

    @property
    def accepts(self) -> bool:
        """Whether it has got one."""
        return self.calls_accept and self.result >= 0

    @property
    def adds(self) -> bool:
        """Whether it registers a descriptor with epoll."""
        return self.name == "epoll_ctl" and self.operation == ADD and self.result == 0


def compile_library(tool: Callable[[str, str], str], folder: Path) -> Path:
    """Make the library; skip the test where there is no C compiler."""
    library = folder / "libcalls.so"
    strict = ("-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC")
    subprocess.run([tool("gcc", "gcc libc6-dev"), *strict, "-o", library, _SOURCE, "-ldl"], check=True)
    return library


def read(path: Path) -> list[Call]:
    """Return what was noted so far, in order; the last line may be in the making."""
    lines = (line.split() for line in path.read_text().splitlines(keepends=True) if line.endswith("\n"))
    return [
        Call(int(pid), int(cpu), name, int(fd), int(result), int(operation))
        for pid, cpu, name, fd, result, operation in (line for line in lines if "loaded" not in line[2:3])
    ]


def loaded_in(path: Path) -> dict[int, str]:
    """Tell in which processes it was loaded, by id, with their command lines."""
    lines = (line.split(maxsplit=3) for line in path.read_text().splitlines())
    return {int(pid): command for pid, _, name, command in lines if name == "loaded"}
