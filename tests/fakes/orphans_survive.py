"""Workers live on when the parent is killed."""

import ctypes
import mmap
import signal
from types import SimpleNamespace

from impls.orders import Orders
from impls.supervisor import Supervisor
from tests.fakes._alter import replace, run

REJECTED_BY = {"PROC-ORPHAN"}


def main() -> None:
    is_stopping = mmap.mmap(-1, 1)  # what the parent writes there its workers see
    obey, stop = Orders.obey, Supervisor._stop

    def stop_and_tell(supervisor: Supervisor) -> None:
        is_stopping[0] = 1
        stop(supervisor)

    def prctl(*_arguments: int) -> int:
        return 0

    def obey_a_living_parent(orders: Orders) -> bool:
        stops = obey(orders)
        while stops and not is_stopping[0]:
            signal.pause()
        return stops

    replace(ctypes, "CDLL", lambda *_arguments, **_options: SimpleNamespace(prctl=prctl))
    replace(Orders, "obey", obey_a_living_parent)
    replace(Supervisor, "_stop", stop_and_tell)
    run()


if __name__ == "__main__":
    main()
