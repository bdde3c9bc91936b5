"""When the backend has answered, the proxy forgets what the client has not taken yet."""

from impls.epoll_raw import pairs
from impls.epoll_raw.pair import Pair
from tests.fakes._alter import replace, run

REJECTED_BY = {"PROXY-HALF-CLOSE", "PROXY-LARGE-REPLY"}
PERHAPS_BY = {"PROXY-BROKEN-REPLY", "PROXY-EARLY-REPLY", "PROXY-SLOW-READER"}


def main() -> None:
    end = pairs.Pairs._end

    def forget_and_end(relay: pairs.Pairs, pair: Pair, last_words: bytes = b"") -> None:
        pair.client.unsent = b""
        end(relay, pair, last_words)

    replace(pairs.Pairs, "_end", forget_and_end)
    run()


if __name__ == "__main__":
    main()
