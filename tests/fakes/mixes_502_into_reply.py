"""When a backend ends a reply that did not say its length, or stops within one, a 502 follows what came of it."""

from impls.contract import BAD_GATEWAY
from impls.epoll_raw.pair import Pair
from impls.epoll_raw.pair_relay import PairRelay
from tests.fakes._alter import replace, run

REJECTED_BY = {"PROXY-BROKEN-REPLY", "PROXY-EARLY-REPLY", "PROXY-END-EOF", "PROXY-HALF-CLOSE", "PROXY-LARGE-REPLY"}
PERHAPS_BY = {"PROXY-SLOW-READER"}


def main() -> None:
    ended = PairRelay._backend_ended

    def answer_whatever_came(relay: PairRelay, pair: Pair, *, cleanly: bool) -> None:
        if pair.framing.between:
            ended(relay, pair, cleanly=cleanly)
        else:
            relay.end(pair, BAD_GATEWAY)

    replace(PairRelay, "_backend_ended", answer_whatever_came)
    run()


if __name__ == "__main__":
    main()
