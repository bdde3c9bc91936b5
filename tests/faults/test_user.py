"""A server that has given up its privileges, and what needs them afterwards."""

import os
import pwd
import random
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from signal import SIGHUP, SIGKILL

import pytest

from harness import processes
from harness.conformance.backend import reply_with_length
from harness.conformance.subject import Subject
from harness.conformance.worker import expect_workers, status_of
from harness.registry import ROOT, Implementation, find
from harness.servers import REQUEST, Server

NAME = "nobody"
WITHIN_S = 5.0
CAP_SETUID = 7
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="it takes root to become another user")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Make a folder that the user may write to, and get to: others' temporary folders are closed to it."""
    made = Path(f"/tmp/percore-{random.SystemRandom().randrange(10**12)}")  # noqa: S108  mkdtemp would close it
    made.mkdir()
    shutil.chown(made, NAME)
    yield made
    shutil.rmtree(made)


def low_address() -> str:
    """Make an address that hardly anything else has, on a port below 1024."""
    drawn = random.SystemRandom()
    return f"127.{drawn.randint(1, 254)}.{drawn.randint(0, 255)}.{drawn.randint(1, 254)}:{drawn.randint(600, 1023)}"


def users(server: Server) -> set[int]:
    return {int(uid) for pid in server.process_pids() for uid in status_of(Path(f"/proc/{pid}/status"))["Uid"].split()}


def is_nobodys(server: Server) -> bool:
    return users(server) == {pwd.getpwnam(NAME).pw_uid}


def test_a_worker_is_killed_after_privileges_were_given_up__another_serves_the_low_port_as_the_same_user(
    impl: Implementation, tmp_path: Path
) -> None:
    with Subject(impl, (), tmp_path, None) as subject:
        server = subject.start(["-w", "1", "--user", NAME, "-o", "/dev/null"], [low_address()])
        [worker] = expect_workers(subject, server, 1)
        os.kill(worker, SIGKILL)
        assert processes.wait_until(lambda: server.worker_pids() not in ([], [worker]), WITHIN_S)
        subject.exchange(server.listen[0])
        assert is_nobodys(server)


def test_the_parent_is_killed_after_privileges_were_given_up__its_workers_end(
    reference: Implementation, tmp_path: Path
) -> None:
    with Subject(reference, (), tmp_path, None) as subject:
        server = subject.start(["-w", "1", "--user", NAME, "-o", "/dev/null"])
        [worker] = expect_workers(subject, server, 1)
        os.kill(server.pid, SIGKILL)
        assert processes.wait_ended(worker, WITHIN_S)


def test_the_program_is_killed_that_a_server_was_to_end_with__it_ends_as_another_user_too() -> None:
    [impl] = find("epoll_raw")
    launched = [sys.executable, "-I", "-S", str(ROOT / "harness/launch.py")]
    command = [*impl.argv, "-w", "1", "--user", NAME, "-o", "/dev/null", "-a", low_address()]
    script = f"{shlex.join(launched)} $$ - - - - {shlex.join(command)} & echo $!; wait"
    with subprocess.Popen(
        ["/bin/sh", "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as shell:
        assert shell.stdout is not None
        server = int(shell.stdout.readline())
        try:
            own = pwd.getpwnam(NAME).pw_uid
            assert processes.wait_until(lambda: Path(f"/proc/{server}").stat().st_uid == own, WITHIN_S)
            assert processes.wait_until(lambda: len(processes.children(server)) == 1, WITHIN_S)
            shell.kill()
            assert processes.wait_ended(server, WITHIN_S)
        finally:
            shell.kill()
            with suppress(ProcessLookupError):
                os.kill(server, SIGKILL)


@pytest.mark.parametrize("flags", [("-k", "-d"), ("-d", "--lean")], ids=" ".join)
def test_the_user_may_not_read_where_the_server_was_started__it_relays_and_logs_all_the_same(
    flags: tuple[str, ...], impl: Implementation, tmp_path: Path, folder: Path
) -> None:
    with Subject(impl, flags, tmp_path, None) as subject:
        backend = subject.backend(["127.0.0.1"])
        log = folder / "log"
        server = subject.start(["-w", "1", *flags, "--user", NAME, "-x", backend.address, "-o", str(log)])
        client, call = subject.connect(server.listen[0]), subject.call([backend])
        client.send(call.request(b"\x00\x1b\xff"))
        call.accept(client).send(reply_with_length())
        client.expect(reply_with_length(), "a reply through a proxy without privileges")
        assert processes.wait_until(lambda: "\\x1b" in log.read_text(), WITHIN_S)
        assert is_nobodys(server)
        assert log.stat().st_uid == pwd.getpwnam(NAME).pw_uid


def test_sighup_comes_when_the_user_may_not_open_the_log_any_more__the_old_file_stays_in_use(
    impl: Implementation, tmp_path: Path, folder: Path
) -> None:
    with Subject(impl, ("-k",), tmp_path, None) as subject:
        log = folder / "log"
        server = subject.start(["-w", "1", "-k", "-d", "--user", NAME, "-o", str(log)])
        client = subject.connect(server.listen[0])
        client.send(REQUEST)
        client.receive_reply()  # a server listens before it has a log
        shutil.chown(log, "root")
        log.chmod(0o600)
        server.send_signal(SIGHUP)
        said = "the log is still the old file, as the new one cannot be written: Permission denied"
        assert processes.wait_until(lambda: any(said in line for line in server.stderr_lines()), WITHIN_S)
        client.send(b"still-there")
        client.receive_reply()
        assert processes.wait_until(lambda: "still-there" in log.read_text(), WITHIN_S)


def test_the_log_is_not_the_users_to_write__one_line_names_it_and_nothing_is_left(
    reference: Implementation, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with Subject(reference, (), tmp_path, None) as subject:
        finished = subject.run(["-w", "1", "--user", NAME, "-o", str(closed / "log")], [subject.reserve()])
    assert finished.status == 2
    assert finished.left_running == 0
    [line] = finished.stderr
    assert f"-o {closed / 'log'}: cannot be written: Permission denied as user {NAME}" in line


AMBIENT = """
import ctypes, os
from impls import flags
from impls.epoll_raw.server import serve
from impls.prefork import main
libc, parse = ctypes.CDLL(None), flags.parse

def parse_and_become(*arguments, **others):  # that late, as a user perhaps who may not read what parsing imports
    options = parse(*arguments, **others)
    libc.prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
    os.setgroups([]), os.setresgid({gid}, {gid}, {gid}), os.setresuid({uid}, {uid}, {uid})
    sets = (ctypes.c_uint32 * 6)(1 << 10, 1 << 10, 1 << 10)  # effective, permitted, inheritable: CAP_NET_BIND_SERVICE
    assert not libc.capset((ctypes.c_uint32 * 2)(0x20080522, 0), sets)
    assert not libc.prctl(47, 2, 10, 0, 0)  # PR_CAP_AMBIENT_RAISE
    return options

flags.parse = parse_and_become
main("ambient", serve, "")
"""


def capabilities(server: Server) -> set[tuple[str, str]]:
    """List what differs from no privileges in any process of a server."""
    wanted = {**dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapAmb"), f"{0:016x}"), "NoNewPrivs": "1"}
    found = [status_of(Path(f"/proc/{pid}/status")) for pid in server.process_pids()]
    return {(name, status[name]) for status in found for name in wanted if status[name] != wanted[name]}


def test_the_user_that_a_server_was_started_as_has_capabilities__they_serve_to_listen_and_are_given_up(
    tmp_path: Path, folder: Path
) -> None:
    entry = pwd.getpwnam(NAME)
    code = AMBIENT.format(uid=entry.pw_uid, gid=entry.pw_gid)
    [made] = find("none", [f"ambient={shlex.join([sys.executable, '-c', code])}"])
    impl = Implementation(made.name, made.argv, ROOT, external=True)
    with Subject(impl, (), tmp_path, None) as subject:
        server = subject.start(["-w", "1", "--user", NAME, "-o", str(folder / "log")], [low_address()])
        expect_workers(subject, server, 1)
        assert is_nobodys(server)
        assert capabilities(server) == set()


def test_root_starts_a_server_with_inheritable_capabilities__none_is_left(
    reference: Implementation, tmp_path: Path
) -> None:
    inheriting = replace(reference, argv=("setpriv", "--inh-caps", "+net_bind_service", "--", *reference.argv))
    with Subject(inheriting, (), tmp_path, None) as subject:
        server = subject.start(["-w", "1", "--user", NAME, "-o", "/dev/null"], [low_address()])
        expect_workers(subject, server, 1)
        assert is_nobodys(server)
        assert capabilities(server) == set()


def test_the_process_may_not_become_another_user__one_line_says_what_would_help(
    reference: Implementation, tmp_path: Path
) -> None:
    with Subject(reference, (), tmp_path, None) as subject:
        finished = subject.run(["-w", "1", "--user", NAME], [subject.reserve()], without_capability=CAP_SETUID)
    assert finished.status == 2
    assert finished.left_running == 0
    [line] = finished.stderr
    assert f"--user {NAME}: this process may not become another user" in line
