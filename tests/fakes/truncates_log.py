"""The log file is begun anew."""

import os

from tests.fakes._alter import replace, run

REJECTED_BY = {"LOG-APPEND"}


def main() -> None:
    open_file = os.open

    def open_anew(path: str, flags: int, mode: int = 0o777) -> int:
        return open_file(path, flags | os.O_TRUNC if flags & os.O_APPEND else flags, mode)

    replace(os, "open", open_anew)
    run()


if __name__ == "__main__":
    main()
