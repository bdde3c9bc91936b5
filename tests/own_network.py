"""A network namespace with a veth pair of four queues, in which tests run the ``harness`` command.

``python -m tests.own_network`` is the process that holds it. It reads a line of JSON for each command, and forks to
carry it out, so that the harness is loaded once; the namespace ends with it.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from pyroute2 import IPRoute, NetlinkError

from harness.nic import ethtool_messages
from harness.registry import ROOT
from harness.testbed import namespaces
from harness.tune import changing, command
from tests import commands

LOADED = (ethtool_messages, command)
"""What a command would load, once for all of them."""

DEVICE, PEER = "veth-a", "veth-b"
QUEUES = 4
KILLED = -signal.SIGKILL
_SYSCTLS = (
    "core/somaxconn",
    "ipv4/ip_local_port_range",
    "ipv4/tcp_fin_timeout",
    "ipv4/tcp_max_syn_backlog",
    "ipv4/tcp_tw_reuse",
)


@dataclass
class OwnNetwork:
    """The namespace, from the test's side."""

    _holder: "subprocess.Popen[str]"

    def run(self, *arguments: object, die_at: int | None = None) -> commands.Said:
        """Run a command; ``die_at`` is the number of the change before which kill -9 comes, from 0 on."""
        return commands.Said(**self._ask({"run": [*map(str, arguments)], "die_at": die_at}))

    def settings(self, device: str = DEVICE) -> dict[str, str]:
        """Return all that the kernel tells of the device's queues and of the host, byte for byte."""
        return dict(self._ask({"settings": device}))

    def change_link(self, verb: str, **values: object) -> None:
        """Do something to the device by rtnetlink, as somebody else would: ``set`` its name, or ``del`` it."""
        assert self._ask({"link": verb, "values": values}) == {}

    def write(self, file: str, text: str) -> None:
        """Write a file of the kernel, as somebody else would."""
        assert self._ask({"write": file, "text": text}) == {}

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        self._holder.stdin.write(json.dumps(request) + "\n")
        self._holder.stdin.flush()
        answer = json.loads(self._holder.stdout.readline())
        assert isinstance(answer, dict)
        return answer


@contextmanager
def opened() -> Iterator[OwnNetwork]:
    """Open one, or skip the test; in CI, where namespaces must be possible, fail."""
    command = [sys.executable, "-m", "tests.own_network"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        try:
            why_not = holder.stdout.readline().strip()
            if why_not.startswith("unshare") and os.environ.get("CI"):
                pytest.fail(why_not)
            if why_not:
                pytest.skip(why_not)
            yield OwnNetwork(holder)
        finally:
            holder.stdin.close()


def _hold() -> None:
    try:
        _make()
    except OSError as problem:
        print(problem.strerror, flush=True)  # noqa: T201  the answer
        return
    print(flush=True)  # noqa: T201  likewise
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(_answer(request)), flush=True)  # noqa: T201  likewise


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    if "settings" in request:
        return dict(_settings(request["settings"]))
    if "write" in request:
        Path(request["write"]).write_text(request["text"])
        return {}
    if "link" in request:
        return _change_link(request["link"], request["values"])
    return _in_a_fork(request["run"], request["die_at"])


def _make() -> None:
    namespaces.unshare_network()
    namespaces.mount_sysfs()
    queues = {"num_tx_queues": QUEUES, "num_rx_queues": QUEUES}
    try:
        with IPRoute() as links:
            links.link("add", ifname=DEVICE, kind="veth", **queues, peer={"ifname": PEER, **queues})
            for name in (DEVICE, PEER):
                [index] = links.link_lookup(ifname=name)
                links.link("set", index=index, state="up")
    except NetlinkError as problem:
        raise OSError(problem.code, str(problem)) from problem


def _settings(device: str) -> dict[str, str]:
    """Read every file, those of other settings, too."""
    found = {}
    for path in sorted(Path("/sys/class/net", device, "queues").glob("*/*")):
        if path.is_file():
            try:
                found[str(path)] = path.read_text()
            except OSError as problem:
                found[str(path)] = str(problem)
    return found | {name: Path("/proc/sys/net", name).read_text() for name in _SYSCTLS}


def _in_a_fork(arguments: Sequence[str], die_at: int | None) -> dict[str, Any]:
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read_end)
        os.write(write_end, json.dumps(_run(arguments, die_at)).encode())
        os._exit(0)
    os.close(write_end)
    with open(read_end, encoding="utf-8") as pipe:  # noqa: PTH123  a descriptor
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    if text:
        answer = json.loads(text)
        assert isinstance(answer, dict)
        return answer
    return {"status": os.waitstatus_to_exitcode(status), "out": "", "err": ""}


def _run(arguments: Sequence[str], die_at: int | None) -> dict[str, Any]:
    write, left = changing.write, [] if die_at is None else [None] * die_at

    def killed(*values: Any) -> None:
        if die_at is not None:
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            left.pop()
        write(*values)

    with mock.patch.object(changing, "write", killed):
        said = commands.run(*arguments)
    return {"status": said.status, "out": said.out, "err": said.err}


def _change_link(verb: str, values: dict[str, Any]) -> dict[str, Any]:
    with IPRoute() as links:
        [index] = links.link_lookup(ifname=DEVICE)
        links.link(verb, index=index, **values)
    return {}


if __name__ == "__main__":
    _hold()
