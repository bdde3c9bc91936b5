"""A worker ends when a line cannot be written to the log."""

import os

from impls import counters
from impls.log import Log
from tests.fakes._alter import replace, run

REJECTED_BY = {"LOG-FULL"}


def main() -> None:
    line = Log.line

    def line_or_end(log: Log, text: str) -> None:
        line(log, text)
        if log._row is not None and log._row[counters.ERROR_LOG]:
            os._exit(1)

    replace(Log, "line", line_or_end)
    run()


if __name__ == "__main__":
    main()
