"""A second SIGINT changes nothing."""

import signal
from collections.abc import Iterable

from tests.fakes._alter import replace, run

REJECTED_BY = {"PROC-SIGINT-TWICE"}


def main() -> None:
    wait = signal.sigtimedwait
    interrupted = False

    def wait_for_the_first(signals: Iterable[signal.Signals], timeout_s: float) -> signal.struct_siginfo | None:
        nonlocal interrupted
        received = wait(signals, timeout_s)
        if received is None or received.si_signo != signal.SIGINT:
            return received
        again, interrupted = interrupted, True
        return None if again else received

    replace(signal, "sigtimedwait", wait_for_the_first)
    run()


if __name__ == "__main__":
    main()
