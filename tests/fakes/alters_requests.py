"""The proxy alters a byte of the requests that it relays."""

from impls.epoll_raw import usual
from impls.epoll_raw.pair import Pair
from impls.epoll_raw.pair_relay import PairRelay
from tests.fakes._alter import replace, run

REJECTED_BY = {
    "PROXY-504",
    "PROXY-HALF-CLOSE",
    "PROXY-KEEP",
    "PROXY-LARGE-REQUEST",
    "PROXY-NEXT-BACKEND",
    "PROXY-RELAY",
    "PROXY-SLOW-READER",
    "PROXY-SPLIT-REQUEST",
}


def altered(request: bytes) -> bytes:
    return request.replace(b"r", b"R")  # of the body alone: by the rest the backend knows whose it is


def main() -> None:
    connect, relay = usual.Usual.connect, PairRelay._from_client

    def connect_and_alter(exchanges: usual.Usual, client: int, request: bytes, now_s: float) -> None:
        connect(exchanges, client, altered(request), now_s)

    def relay_and_alter(relaying: PairRelay, pair: Pair, data: bytes) -> None:
        relay(relaying, pair, altered(data))

    replace(usual.Usual, "connect", connect_and_alter)
    replace(PairRelay, "_from_client", relay_and_alter)
    run()


if __name__ == "__main__":
    main()
