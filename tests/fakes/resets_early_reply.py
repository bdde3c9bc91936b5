"""A client that is still sending its request is closed at once when it has its reply, which resets the connection."""

from impls.epoll_raw import pairs
from impls.epoll_raw.pair import Pair
from tests.fakes._alter import replace, run

REJECTED_BY = {"PROXY-EARLY-REPLY"}


def main() -> None:
    def close_at_once(relay: pairs.Pairs, pair: Pair) -> None:
        relay._drop(pair.client)

    replace(pairs.Pairs, "_close_client", close_at_once)
    run()


if __name__ == "__main__":
    main()
