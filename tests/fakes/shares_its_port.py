"""A server whose workers share one listener shares its port with any other server of the same user that does so."""

import socket

from impls import listeners
from impls.addresses import Address
from impls.contract import Options
from tests.fakes._alter import replace, run

REJECTED_BY = {"LISTEN-PORT-TAKEN"}


def main() -> None:
    open_one = listeners._open

    def open_to_others(address: Address, options: Options, *, reuse_port: bool = False) -> socket.socket:
        return open_one(address, options, reuse_port=reuse_port or not options.listeners_apart)

    replace(listeners, "_open", open_to_others)
    run()


if __name__ == "__main__":
    main()
