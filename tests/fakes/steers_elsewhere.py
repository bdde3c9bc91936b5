"""Connections go to the worker on another CPU than the one that received their SYN."""

import socket
from collections.abc import Sequence

from impls import steering
from tests.fakes._alter import replace, run

REJECTED_BY = {"LISTEN-PERCPU"}


def main() -> None:
    attach = steering.attach

    def attach_rotated(listener: socket.socket, cpus: Sequence[int]) -> None:
        attach(listener, [*cpus[1:], cpus[0]])

    replace(steering, "attach", attach_rotated)
    run()


if __name__ == "__main__":
    main()
