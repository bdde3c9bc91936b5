"""Workers may run on any CPU."""

import os
from collections.abc import Iterable

from tests.fakes._alter import replace, run

REJECTED_BY = {"PROC-PINNED", "PROC-START-CPU", "PROC-OVERSUBSCRIBE"}


def bind_to_nothing(_pid: int, _cpus: Iterable[int]) -> None:
    """Leave the process where it is."""


def main() -> None:
    replace(os, "sched_setaffinity", bind_to_nothing)
    run()


if __name__ == "__main__":
    main()
