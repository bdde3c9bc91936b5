"""A worker that died is not replaced."""

import math

from impls.supervisor import Supervisor
from tests.fakes._alter import replace, run

REJECTED_BY = {"PROC-RESPAWN", "PROC-GIVE-UP"}


def main() -> None:
    start_due = Supervisor._start_due

    def start_once(supervisor: Supervisor) -> None:
        if not any(place.started_s for place in supervisor._places):
            start_due(supervisor)
        for place in supervisor._places:
            if place.pid is None:
                place.start_at_s = math.inf  # what is due and never done would keep the parent busy

    replace(Supervisor, "_start_due", start_once)
    run()


if __name__ == "__main__":
    main()
