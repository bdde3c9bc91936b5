"""Who waits for a worker that is dead when SIGTERM comes is reset where nobody else listens for it."""

from collections.abc import Sequence
from typing import Any

from impls.supervisor import Supervisor
from tests.fakes._alter import replace, run

REJECTED_BY = {"LISTEN-DEAD-WORKER"}


def main() -> None:
    start = Supervisor._start_where_some_wait

    def start_when_one_has_died_since(supervisor: Supervisor, places: Sequence[Any]) -> None:
        if places is not supervisor._places:
            start(supervisor, places)

    replace(Supervisor, "_start_where_some_wait", start_when_one_has_died_since)
    run()


if __name__ == "__main__":
    main()
