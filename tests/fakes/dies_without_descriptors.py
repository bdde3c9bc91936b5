"""A worker that has no descriptor left ends."""

import os

from impls.epoll_raw.accept import WatchedListeners
from tests.fakes._alter import replace, run

REJECTED_BY = {"LIMIT-FILES"}


def main() -> None:
    replace(WatchedListeners, "rest", lambda _: os._exit(1))
    run()


if __name__ == "__main__":
    main()
