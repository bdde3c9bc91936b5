"""Workers live on when the parent is killed."""

import ctypes
from types import SimpleNamespace

from tests.fakes._alter import replace, run

REJECTED_BY = {"PROC-ORPHAN"}


def main() -> None:
    def prctl(*_arguments: int) -> int:
        return 0

    replace(ctypes, "CDLL", lambda *_arguments, **_options: SimpleNamespace(prctl=prctl))
    run()


if __name__ == "__main__":
    main()
