"""When the backend has answered, the proxy forgets what the client has not taken yet."""

from impls.epoll_raw.pair import Pair
from impls.epoll_raw.pair_relay import PairRelay
from tests.fakes._alter import replace, run

REJECTED_BY = {"PROXY-HALF-CLOSE", "PROXY-LARGE-REPLY"}
PERHAPS_BY = {"PROXY-BROKEN-REPLY", "PROXY-EARLY-REPLY", "PROXY-SLOW-READER"}


def main() -> None:
    end = PairRelay.end

    def forget_and_end(relay: PairRelay, pair: Pair, last_words: bytes = b"") -> None:
        pair.client.unsent = b""
        end(relay, pair, last_words)

    replace(PairRelay, "end", forget_and_end)
    run()


if __name__ == "__main__":
    main()
