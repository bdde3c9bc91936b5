"""The proxy reads on while the other side does not take what was read."""

from impls.epoll_raw import pairs
from impls.epoll_raw.pair import Side
from tests.fakes._alter import replace, run

REJECTED_BY = {"PROXY-SLOW-READER"}


def main() -> None:
    read, send = pairs.Pairs._read, pairs.Pairs._send

    def read_whatever_is_unsent(relay: pairs.Pairs, side: Side) -> None:
        peer, side.peer = side.peer, None  # so that nobody asks what the peer has unsent
        try:
            read(relay, side)
        finally:
            side.peer = peer if side.is_open else None

    def send_behind_the_rest(relay: pairs.Pairs, side: Side, data: bytes) -> None:
        if side.unsent:
            side.unsent += data
        else:
            send(relay, side, data)

    replace(pairs.Pairs, "_read", read_whatever_is_unsent)
    replace(pairs.Pairs, "_send", send_behind_the_rest)
    run()


if __name__ == "__main__":
    main()
