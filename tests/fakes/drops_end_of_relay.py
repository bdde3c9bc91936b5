"""When the backend has answered, the proxy forgets what the client has not taken yet."""

from impls.epoll_raw import proxy
from tests.fakes._alter import replace, run

REJECTED_BY = {"PROXY-HALF-CLOSE", "PROXY-LARGE-REPLY"}


def main() -> None:
    end = proxy._Relay._end

    def forget_and_end(relay: proxy._Relay, pair: proxy._Pair, last_words: bytes = b"") -> None:
        pair.client.unsent = b""
        end(relay, pair, last_words)

    replace(proxy._Relay, "_end", forget_and_end)
    run()


if __name__ == "__main__":
    main()
