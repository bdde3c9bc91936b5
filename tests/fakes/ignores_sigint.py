"""SIGINT does nothing."""

import signal
from collections.abc import Iterable

from tests.fakes._alter import replace, run

REJECTED_BY = {"PROC-SIGINT", "PROC-SIGINT-TWICE", "PROC-SIGNAL-BUSY"}


def main() -> None:
    wait = signal.sigtimedwait

    def wait_for_others(signals: Iterable[signal.Signals], timeout_s: float) -> signal.struct_siginfo | None:
        return wait(set(signals) - {signal.SIGINT}, timeout_s)

    replace(signal, "sigtimedwait", wait_for_others)
    run()


if __name__ == "__main__":
    main()
