"""Backend connections are closed in order, which leaves them in TIME_WAIT."""

import struct

from impls import listeners
from impls.epoll_raw.backend_sockets import BackendSockets
from tests.fakes._alter import replace, run

REJECTED_BY = {"PROXY-RESET-BACKEND"}


def main() -> None:
    replace(listeners, "RESET_ON_CLOSE", struct.pack("ii", 0, 0))
    replace(BackendSockets, "reset", lambda *_: False)
    run()


if __name__ == "__main__":
    main()
