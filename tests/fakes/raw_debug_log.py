"""Received bytes go to the log as they are."""

import os
from contextlib import suppress

from impls.log import Log
from tests.fakes._alter import replace, run

REJECTED_BY = {"LOG-DEBUG"}


def main() -> None:
    def read(log: Log, connection: int, data: bytes | memoryview | bytearray) -> None:
        with suppress(OSError):
            os.write(log.fd, b"read %d %d bytes %b\n" % (connection, len(data), bytes(data)))

    replace(Log, "read", read)
    run()


if __name__ == "__main__":
    main()
