"""When a backend stops within its reply, the client gets a 502 behind what came of it."""

from impls.contract import BAD_GATEWAY
from impls.epoll_raw import pairs
from impls.epoll_raw.pair import Pair
from tests.fakes._alter import replace, run

REJECTED_BY = {"PROXY-BROKEN-REPLY"}


def main() -> None:
    ended = pairs.Pairs._backend_ended

    def answer_whatever_came(relay: pairs.Pairs, pair: Pair, *, cleanly: bool) -> None:
        if pair.framing.between or (cleanly and pair.framing.end()):
            ended(relay, pair, cleanly=cleanly)
        else:
            relay._end(pair, BAD_GATEWAY)

    replace(pairs.Pairs, "_backend_ended", answer_whatever_came)
    run()


if __name__ == "__main__":
    main()
