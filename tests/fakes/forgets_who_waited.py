"""Who waits for a worker that dies is reset where nobody else listens for it."""

import socket
from typing import Any

from impls.contract import BACKLOG
from impls.supervisor import Supervisor
from tests.fakes._alter import replace, run

REJECTED_BY = {"LISTEN-DEAD-WORKER"}


def main() -> None:
    died = Supervisor._died

    def died_with_its_queue(supervisor: Supervisor, place: Any, cause: str) -> None:
        for listener in place.listeners if supervisor._options.listeners_apart else ():
            listener.shutdown(socket.SHUT_RD)  # which ends listening, and resets who waits
            listener.listen(BACKLOG)
        died(supervisor, place, cause)

    replace(Supervisor, "_died", died_with_its_queue)
    run()


if __name__ == "__main__":
    main()
