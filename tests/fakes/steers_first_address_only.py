"""Of several addresses only the first has connections go to the CPU that received their SYN."""

import socket
from collections.abc import Sequence

from impls import steering
from tests.fakes._alter import replace, run

REJECTED_BY = {"LISTEN-PERCPU"}


def main() -> None:
    attach = steering.attach

    def attach_once(listener: socket.socket, cpus: Sequence[int]) -> None:
        attach(listener, cpus)
        replace(steering, "attach", lambda *_: None)

    replace(steering, "attach", attach_once)
    run()


if __name__ == "__main__":
    main()
