"""Workers live on when the parent is killed."""

import ctypes
import os
import signal
import time
from types import SimpleNamespace

from impls.orders import Orders
from tests.fakes._alter import replace, run

REJECTED_BY = {"PROC-ORPHAN"}
NOTICED_AFTER_S = 0.2
"""The kernel closes a process's sockets before it gives its children another parent."""


def main() -> None:
    parent = os.getpid()
    obey = Orders.obey

    def prctl(*_arguments: int) -> int:
        return 0

    def obey_a_living_parent(orders: Orders) -> bool:
        stops = obey(orders)
        if stops:
            time.sleep(NOTICED_AFTER_S)
            while os.getppid() != parent:
                signal.pause()
        return stops

    replace(ctypes, "CDLL", lambda *_arguments, **_options: SimpleNamespace(prctl=prctl))
    replace(Orders, "obey", obey_a_living_parent)
    run()


if __name__ == "__main__":
    main()
