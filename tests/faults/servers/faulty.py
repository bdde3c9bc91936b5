"""A small server that goes wrong: ``faulty.py FAULT FLAGS``. FAULT is the name of a function below.

It answers as many requests as there are in a part of a run, one after the other, before anything happens to it.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

REPLY = b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"
AFTER = 500
"""Requests."""
_CHUNK = b"lorem ipsum dolor sit amet\n" * 4096

Answer = Callable[[socket.socket, int], None]
"""Answers the request of this number."""


def main(fault: str, *flags: str) -> None:
    """Serve until something goes wrong."""
    if "--version" in flags:
        return
    host, _, port = flags[flags.index("-a") + 1].rpartition(":")
    log = flags[flags.index("-o") + 1]
    listener = socket.create_server((host, int(port)), backlog=1024)
    FAULTS[fault](listener, log)


def serve(listener: socket.socket, answer: Answer) -> None:
    """Answer one request after the other, each on a connection of its own."""
    number = 0
    while True:
        connection, _ = listener.accept()
        with connection:
            if connection.recv(65536):
                number += 1
                answer(connection, number)


def correct(connection: socket.socket, _number: int) -> None:
    """Answer as is right."""
    connection.sendall(REPLY)


def after_some(happens: Callable[[socket.socket], None]) -> Answer:
    """Answer as is right until something happens."""

    def answer(connection: socket.socket, number: int) -> None:
        if number > AFTER:
            happens(connection)
        else:
            correct(connection, number)

    return answer


def say(text: str) -> None:
    """Write a line to standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def wait_for_ever() -> NoReturn:
    """Do nothing, whatever comes."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        signal.pause()


def hangs_at_start(_listener: socket.socket, _log: str) -> None:
    """Listen, and accept nothing."""
    say("about to read the almanac")
    wait_for_ever()


def hangs(listener: socket.socket, _log: str) -> None:
    """Stop in the middle of a request."""
    say("about to read the almanac")
    serve(listener, after_some(lambda _: wait_for_ever()))


def crashes(listener: socket.socket, _log: str) -> None:
    """End in the middle of a request."""

    def end(_: socket.socket) -> None:
        say("out of sealing wax")
        os._exit(3)

    serve(listener, after_some(end))


def worker_dies(listener: socket.socket, _log: str) -> None:
    """Have a worker that is killed, and replace it."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while True:
        worker = os.fork()
        if not worker:
            serve(listener, after_some(lambda _: os.kill(os.getpid(), signal.SIGKILL)))
        _, status = os.waitpid(worker, 0)
        say(f"worker 0 was killed by {signal.Signals(os.WTERMSIG(status)).name}; another serves on its CPU")


def floods_standard_error(listener: socket.socket, _log: str) -> None:
    """Serve, and write to standard error as fast as can be."""
    serve(listener, flooding(2))


def fills_its_log(listener: socket.socket, log: str) -> None:
    """Serve, and write into the log as fast as can be."""
    serve(listener, flooding(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)))


def flooding(fd: int) -> Answer:
    """Answer as is right, and write without end when it is up and under load."""

    def write() -> None:
        while True:
            os.write(fd, _CHUNK)

    def answer(connection: socket.socket, number: int) -> None:
        correct(connection, number)
        if number == AFTER:
            threading.Thread(target=write, daemon=True).start()

    return answer


def forks_away(listener: socket.socket, log: str) -> None:
    """Serve as a daemon does: in a session of its own, with nothing in its environment, its parents ended."""
    if not os.fork():
        os.setsid()
        if not os.fork():
            _become_another(listener, log)
    os._exit(0)


def leaves_a_daemon(listener: socket.socket, log: str) -> None:
    """Serve, and end on SIGTERM; what it forked away goes on."""
    child = os.fork()
    if not child:
        os.setsid()
        if not os.fork():
            _become_another(listener, log)
        os._exit(0)
    os.waitpid(child, 0)
    serve(listener, correct)


def leaves_helpers(listener: socket.socket, _log: str) -> None:
    """Serve, and end on SIGTERM; a process in a session of its own goes on."""
    if not os.fork():
        os.setsid()
        wait_for_ever()
    serve(listener, correct)


def _become_another(listener: socket.socket, log: str) -> NoReturn:
    """Go on without the environment, which tells where a process comes from; the log's name stays to be found by."""
    os.set_inheritable(listener.fileno(), True)  # noqa: FBT003  no other way to pass it
    os.execve(sys.executable, [sys.executable, __file__, "goes_on", "-a", str(listener.fileno()), "-o", log], {})  # noqa: S606


def answers_rubbish(listener: socket.socket, _log: str) -> None:
    """Send what is no reply, and never end that."""

    def rubbish(connection: socket.socket) -> None:
        say("\x1b[31m[red]a proud line[/red]\x1b[0m")
        while True:
            try:
                connection.sendall(b"\0\r\n\xff" * 65536)
            except OSError:
                return

    serve(listener, after_some(rubbish))


def answers_rubbish_at_once(listener: socket.socket, _log: str) -> None:
    """Send what is no reply from the first request on, and never end that."""

    def rubbish(connection: socket.socket, _number: int) -> None:
        while True:
            try:
                connection.sendall(b"\0\r\n\xff" * 65536)
            except OSError:
                return

    serve(listener, rubbish)


def closes_its_listener(listener: socket.socket, _log: str) -> None:
    """Listen no more, and live on."""

    def close(connection: socket.socket) -> None:
        say("closing time")
        listener.close()
        connection.close()
        wait_for_ever()

    serve(listener, after_some(close))


def ignores_sigterm(listener: socket.socket, _log: str) -> None:
    """Serve on, whatever is asked for."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    serve(listener, correct)


FAULTS = {
    function.__name__: function
    for function in (
        hangs_at_start,
        hangs,
        crashes,
        worker_dies,
        floods_standard_error,
        fills_its_log,
        forks_away,
        leaves_a_daemon,
        leaves_helpers,
        answers_rubbish,
        answers_rubbish_at_once,
        closes_its_listener,
        ignores_sigterm,
    )
}

if __name__ == "__main__":
    if sys.argv[1] == "goes_on":
        serve(socket.socket(fileno=int(sys.argv[3])), correct)
    main(*sys.argv[1:])
