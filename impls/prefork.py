"""``python -m impls.NAME``: parse, open, give up privileges, and supervise workers until the end.

An implementation's ``__main__.py`` calls ``main``; nothing here knows how it serves.
"""

import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from impls import flags, log, privileges, worker_process
from impls.console import open_missing_streams, say
from impls.contract import DEFAULT_LISTEN_MODE, Options
from impls.listeners import open_listeners
from impls.supervisor import WATCHED, GivenUp, Supervisor
from impls.worker import Serve


def main(
    name: str, serve: Serve, library: str, argv: Sequence[str] | None = None, *, exclusive: bool = False
) -> NoReturn:
    """Run ``python -m impls.NAME``; ``library`` is what ``--version`` says it stands on.

    ``exclusive`` tells that ``serve`` obeys the listen mode of that name.
    """
    open_missing_streams()
    # To be interrupted before it listens needs no handler, and leaves no traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    options = flags.parse(sys.argv[1:] if argv is None else argv, name, library, exclusive=exclusive)
    # From here on somebody may be connected, and from the first fork on somebody may end: neither is to be missed.
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    try:
        # Open files are for root to raise; listeners may be many. The log is opened by who may have to open it anew.
        worker_process.allow_open_files()
        worker_process.check_open_files(options)
        listeners = open_listeners(options)
        if options.user is not None:
            privileges.become(options.user)
        log_fd = _open_log(options)
    except ValueError as error:
        say(f"impls.{name}: error: {error}")
        sys.exit(2)
    # Whoever started this may have it ignored; then the kernel would keep no word of how a worker has ended (wait(2)).
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    say(f"impls.{name}: {_introduction(options)}")
    try:
        Supervisor(f"impls.{name}", serve, options, listeners, log_fd).run()
    except GivenUp as given_up:
        say(f"impls.{name}: error: {given_up}; see {options.log_file}")
        sys.exit(1)
    sys.exit(0)


def _introduction(options: Options) -> str:
    mode = f"proxy to {' '.join(map(str, options.backends))}" if options.backends else "server"
    said = (", keep-alive" if options.keepalive else "") + (", lean" if options.lean else "")
    addresses = " ".join(map(str, options.addresses))
    listen_mode = f" ({options.listen_mode})" if options.listen_mode != DEFAULT_LISTEN_MODE else ""
    cpus = " ".join(map(str, options.cpus))
    user = f", user {options.user.name}" if options.user else ""
    return f"{mode}{said} on {addresses}{listen_mode}, workers on CPU {cpus}{user}, log {options.log_file}"


def _open_log(options: Options) -> int:
    try:
        return log.open_file(options.log_file)
    except ValueError as error:
        as_user = f" as user {options.user.name}" if options.user else ""
        raise ValueError(f"-o {options.log_file}: {error}{as_user}; name a file in a folder that can be") from None
