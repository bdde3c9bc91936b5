"""The proxy reads on while the other side does not take what was read."""

from impls.epoll_raw.pair import Side
from impls.epoll_raw.pair_relay import PairRelay
from tests.fakes._alter import replace, run

REJECTED_BY = {"PROXY-SLOW-READER"}


def main() -> None:
    read, send = PairRelay.read, PairRelay._send

    def read_whatever_is_unsent(relay: PairRelay, side: Side) -> None:
        peer, side.peer = side.peer, None  # so that nobody asks what the peer has unsent
        try:
            read(relay, side)
        finally:
            side.peer = peer if side.is_open else None

    def send_behind_the_rest(relay: PairRelay, side: Side, data: bytes) -> None:
        if side.unsent:
            side.unsent += data
        else:
            send(relay, side, data)

    replace(PairRelay, "read", read_whatever_is_unsent)
    replace(PairRelay, "_send", send_behind_the_rest)
    run()


if __name__ == "__main__":
    main()
