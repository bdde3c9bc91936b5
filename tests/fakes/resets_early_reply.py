"""A client that is still sending its request is closed at once when it has its reply, which resets the connection."""

from impls.epoll_raw.pair import Side
from impls.epoll_raw.pair_clients import PairClients
from tests.fakes._alter import replace, run

REJECTED_BY = {"PROXY-EARLY-REPLY"}


def main() -> None:
    def close_at_once(clients: PairClients, client: Side) -> None:
        clients.drop(client)

    replace(PairClients, "close", close_at_once)
    run()


if __name__ == "__main__":
    main()
