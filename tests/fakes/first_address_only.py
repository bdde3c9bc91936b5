"""Of the addresses after ``-a`` only the first is listened on."""

from collections.abc import Iterable
from itertools import islice

from impls import prefork
from impls.addresses import Address
from impls.listeners import open_listeners
from tests.fakes._alter import replace, run

REJECTED_BY = {"LISTEN-SEVERAL", "CLI-LONG-NAMES"}


def main() -> None:
    def open_first(addresses: Iterable[Address]) -> object:
        return open_listeners(islice(addresses, 1))

    replace(prefork, "open_listeners", open_first)
    run()


if __name__ == "__main__":
    main()
