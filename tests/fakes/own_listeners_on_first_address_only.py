"""Of several addresses only the first has a listener for each worker."""

import dataclasses
import socket
from contextlib import ExitStack

from impls import listeners
from impls.addresses import Address
from impls.contract import Options
from tests.fakes._alter import replace, run

REJECTED_BY = {"LISTEN-SOCKETS"}


def main() -> None:
    open_for_all = listeners._open_for_all

    def open_own_for_first(address: Address, options: Options, opened: ExitStack) -> list[socket.socket]:
        if address != options.addresses[0]:
            options = dataclasses.replace(options, listen_mode="shared")
        return open_for_all(address, options, opened)

    replace(listeners, "_open_for_all", open_own_for_first)
    run()


if __name__ == "__main__":
    main()
