"""The process that makes the namespaces: ``python -m harness.testbed.build HOST=ADDRESS…``.

Standard input is the inner end of a door (``door.py``). Through it goes first what was built, with a door to each
host, and then this process answers for the switch. It lives in the switch's namespace; a child in each host's holds
that one. They end when the harness closes the doors or ends, however that happens, and with them the namespaces.

Nothing is made in the network namespace that this process is started in.
"""

import os
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import NoReturn

import msgspec

from harness.launch import end_with
from harness.testbed import door, namespaces
from harness.testbed.door import Built, Door, SetUp
from harness.testbed.holder import Holder


def main(hosts: Mapping[str, str]) -> None:
    """Build, tell, and answer until the harness is gone."""
    control = socket.socket(fileno=sys.stdin.fileno())
    pids: dict[str, int] = {}
    try:
        switch = _switch()
        # It takes 0.2 s: after what may fail, and before the forks, so that it is paid for once.
        from harness.testbed import links  # noqa: PLC0415

        outer = {}
        for host in hosts:
            outer[host], inner = door.pair()
            pids[host] = _fork_host(inner, [control, *outer.values()])
        doors = {host: Door(end) for host, end in outer.items()}
        for each in doors.values():
            each.receive()
        links.make_switch(pids)
        no_steering = [doors[host].ask(SetUp(address)) for host, address in hosts.items()]
        built = Built(list(pids.values()), " ".join(dict.fromkeys(filter(None, no_steering))))
        door.answer(control, msgspec.json.encode(built).decode(), [end.fileno() for end in outer.values()])
        for each in doors.values():
            each.close()
        door.serve(control, switch.carry_out)
    except OSError as problem:
        with suppress(BrokenPipeError):
            door.refuse(control, problem)
    finally:
        for pid in pids.values():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _switch() -> Holder:
    """Move this process into the switch's namespace, without root by way of a user namespace."""
    try:
        return Holder()
    except PermissionError:
        namespaces.unshare_user()
        return Holder()


def _fork_host(inner: socket.socket, outer: list[socket.socket]) -> int:
    """Start a host's holder, which first tells that it is in its namespace."""
    builder = os.getpid()
    pid = os.fork()
    if pid:
        inner.close()
        return pid
    try:
        end_with(builder)
        for end in outer:
            end.close()
        _hold(inner)
    finally:
        os._exit(0)


def _hold(inner: socket.socket) -> NoReturn:
    try:
        holder = Holder()
    except OSError as problem:
        door.refuse(inner, problem)
    else:
        door.answer(inner)
        door.serve(inner, holder.carry_out)
    sys.exit()


if __name__ == "__main__":
    main(dict(argument.split("=") for argument in sys.argv[1:]))
