"""When a backend ends a reply that did not say its length, or stops within one, a 502 follows what came of it."""

from impls.contract import BAD_GATEWAY
from impls.epoll_raw.backend_sockets import Target
from impls.exchange import Owed
from impls.failures import Failures
from tests.fakes._alter import replace, run

REJECTED_BY = {"PROXY-BROKEN-REPLY", "PROXY-EARLY-REPLY", "PROXY-END-EOF", "PROXY-HALF-CLOSE", "PROXY-LARGE-REPLY"}
PERHAPS_BY = {"PROXY-SLOW-READER"}


def main() -> None:
    ended = Failures.ended

    def answer_whatever_came(failures: Failures[Target], backend: Target, exchange: Owed, *, cleanly: bool) -> bytes:
        if exchange.replies.between:
            return ended(failures, backend, exchange, cleanly=cleanly)
        return BAD_GATEWAY

    replace(Failures, "ended", answer_whatever_came)
    run()


if __name__ == "__main__":
    main()
