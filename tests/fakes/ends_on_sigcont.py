"""The parent takes any wake-up for a signal to end."""

import os
import signal
from collections.abc import Iterable
from types import SimpleNamespace

from tests.fakes._alter import replace, run

REJECTED_BY = {"PROC-STOP-CONT"}


def main() -> None:
    wait = signal.sigtimedwait
    continued = False

    def note(_signal: int, _frame: object) -> None:
        nonlocal continued
        continued = True

    def wait_or_end(signals: Iterable[signal.Signals], timeout_s: float) -> object:
        received = None if continued else wait(signals, timeout_s)
        return SimpleNamespace(si_signo=signal.SIGTERM) if continued else received

    signal.signal(signal.SIGCONT, note)
    os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGCONT, signal.SIG_DFL))
    replace(signal, "sigtimedwait", wait_or_end)
    run()


if __name__ == "__main__":
    main()
