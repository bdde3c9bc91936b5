"""Listeners are opened without SO_REUSEADDR."""

import socket

from tests.fakes._alter import replace, run

REJECTED_BY = {"PROC-RESTART"}


def main() -> None:
    set_option = socket.socket.setsockopt

    def set_other_options(opened: socket.socket, level: int, option: int, value: int | bytes) -> None:
        if (level, option) != (socket.SOL_SOCKET, socket.SO_REUSEADDR):
            set_option(opened, level, option, value)

    replace(socket.socket, "setsockopt", set_other_options)
    run()


if __name__ == "__main__":
    main()
