"""The log is renamed, removed, and on a disk without room."""

import errno
import os
import re
import resource
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from io import FileIO
from pathlib import Path
from signal import SIGHUP

import pytest

from harness import processes
from harness.conformance.connection import Connection
from harness.conformance.counted import counted, expect_counted
from harness.conformance.subject import Subject
from harness.conformance.worker import client_of, expect_workers, highest_descriptor
from harness.registry import Implementation
from harness.servers import REQUEST, Server

WITHIN_S = 5.0
DISK_BYTES = 64 * 1024
BEGINNING = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ")


def exchange(client: Connection, request: bytes = REQUEST) -> None:
    client.send(request)
    client.receive_reply("a reply whatever becomes of the log")


def test_the_log_is_rotated_under_load__each_line_is_in_the_old_or_in_the_new_file(
    impl: Implementation, tmp_path: Path
) -> None:
    with Subject(impl, ("-k",), tmp_path, None) as subject:
        server = subject.start(["-w", "2", "--oversubscribe", "-k", "-d"])
        workers = expect_workers(subject, server, 2)
        clients = [client_of(subject, server, worker, workers) for worker in workers]
        files = [server.log_path]
        number = 0
        for rotation in range(5):
            files.append(server.log_path.rename(tmp_path / f"old-{rotation}"))
            server.send_signal(SIGHUP)
            for _ in range(20):
                for client in clients:
                    number += 1
                    exchange(client, b"request-%d-" % number)
            assert processes.wait_until(server.log_path.exists, WITHIN_S)

        def found() -> list[str]:
            return re.findall(r"request-(\d+)-", "".join(file.read_text() for file in files))

        assert processes.wait_until(lambda: len(found()) == number, WITHIN_S)
        assert sorted(map(int, found())) == list(range(1, number + 1))


def test_the_folder_of_the_log_is_removed_before_sighup__the_old_file_stays_in_use_and_a_line_says_so(
    impl: Implementation, tmp_path: Path
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    with Subject(impl, ("-k",), tmp_path, None) as subject:
        server = subject.start(["-w", "1", "-k", "-d", "-o", str(folder / "log")])
        client = subject.connect(server.listen[0])
        exchange(client)
        moved = folder.rename(tmp_path / "moved")
        server.send_signal(SIGHUP)
        said = f"the log is still the old file, as the new one cannot be written: {os.strerror(2)}"
        assert processes.wait_until(lambda: any(said in line for line in server.stderr_lines()), WITHIN_S)
        exchange(client, b"still-there")
        assert processes.wait_until(lambda: "still-there" in (moved / "log").read_text(), WITHIN_S)
        folder.mkdir()
        server.send_signal(SIGHUP)
        assert processes.wait_until((folder / "log").exists, WITHIN_S)
        exchange(client)


def test_sighup_comes_while_a_worker_has_no_descriptor_left__it_writes_to_the_new_file(
    impl: Implementation, tmp_path: Path
) -> None:
    with Subject(impl, ("-k",), tmp_path, None) as subject:
        server = subject.start(["-w", "1", "-k", "-d"])
        [worker] = expect_workers(subject, server, 1)
        client = subject.connect(server.listen[0])
        exchange(client)
        room, limits = highest_descriptor(worker) + 1, resource.prlimit(worker, resource.RLIMIT_NOFILE)
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (room, limits[1]))
        for _ in range(room):
            subject.connect(server.listen[0])
        assert processes.wait_until(lambda: descriptors(worker) == room, WITHIN_S)
        for rotation in range(3):
            server.log_path.rename(tmp_path / f"old-{rotation}")
            server.send_signal(SIGHUP)
            assert processes.wait_until(server.log_path.exists, WITHIN_S)
            assert processes.wait_until(partial(has_logged, server, client), WITHIN_S)
        assert descriptors(worker) == room


def has_logged(server: Server, client: Connection) -> bool:
    exchange(client, b"to-the-new-one")
    return "to-the-new-one" in server.log_text()


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_a_worker_is_replaced_after_the_log_was_rotated__it_writes_to_the_new_file(
    impl: Implementation, tmp_path: Path
) -> None:
    with Subject(impl, (), tmp_path, None) as subject:
        server = subject.start(["-w", "1", "-d"])
        [worker] = expect_workers(subject, server, 1)
        server.log_path.rename(tmp_path / "old")
        server.send_signal(SIGHUP)
        assert processes.wait_until(server.log_path.exists, WITHIN_S)
        os.kill(worker, 9)
        assert processes.wait_until(lambda: server.worker_pids() not in ([], [worker]), WITHIN_S)
        subject.exchange(server.listen[0], b"of-another")
        assert processes.wait_until(lambda: "of-another" in server.log_text(), WITHIN_S)
        assert f"(process {worker}) was killed by SIGKILL" in server.log_text()


@contextmanager
def on_a_small_disk(impl: Implementation, tmp_path: Path) -> Iterator[tuple[Subject, Server, Path]]:
    """Run a server whose log is on a disk of its own, and give the folder in which that disk is seen."""
    if os.geteuid() != 0:
        pytest.skip("it takes root to mount a disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = f'mount -t tmpfs -o size={DISK_BYTES} none {shlex.quote(str(folder))} && exec "$@"'
    on_disk = replace(impl, argv=("unshare", "--mount", "sh", "-c", mount, "sh", *impl.argv))
    with Subject(on_disk, ("-k",), tmp_path, None) as subject:
        server = subject.start(["-w", "1", "-k", "-d", "-v", "-o", str(folder / "log")])
        yield subject, server, Path(f"/proc/{server.pid}/root{folder}")


def fill(folder: Path) -> Path:
    """Leave no byte of room on a disk."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (4096, 1):
            while takes(file, size):
                pass
    return filler


def takes(file: FileIO, size: int) -> bool:
    try:
        return file.write(bytes(size)) > 0
    except OSError as error:
        if error.errno == errno.ENOSPC:
            return False
        raise


def test_the_disk_of_the_log_is_full__lines_are_lost_and_counted_and_no_connection_is(
    impl: Implementation, tmp_path: Path
) -> None:
    with on_a_small_disk(impl, tmp_path) as (subject, server, folder):
        client = subject.connect(server.listen[0])
        exchange(client)
        fill(folder)
        while not counted(server, "log"):
            exchange(client, b"x" * 1000)  # what is left of the last page fills up
        lost = counted(server, "log")
        for _ in range(20):
            exchange(client)
        expect_counted(server, "log", least=lost + 20)
        assert len(server.worker_pids()) == 1


def test_the_parent_cannot_write_its_own_lines_to_the_log__they_are_counted(
    reference: Implementation, tmp_path: Path
) -> None:
    with Subject(reference, (), tmp_path, None) as subject:
        server = subject.start(["-w", "1", "-v", "-o", "/dev/full"])
        [worker] = expect_workers(subject, server, 1)
        lost = counted(server, "log")
        os.kill(worker, 9)
        expect_counted(server, "restarts", least=1)
        expect_counted(server, "log", least=lost + 1)


def test_there_is_room_again_on_the_full_disk_of_the_log__lines_are_written_again_and_none_runs_into_another(
    impl: Implementation, tmp_path: Path
) -> None:
    with on_a_small_disk(impl, tmp_path) as (subject, server, folder):
        client = subject.connect(server.listen[0])
        filler = fill(folder)
        while not counted(server, "log"):
            exchange(client, b"x" * 1000)
        filler.unlink()
        log = folder / "log"

        def written() -> bool:
            exchange(client, b"room-again")
            return "room-again" in log.read_text()

        assert processes.wait_until(written, WITHIN_S)
        text = log.read_text()
        lines = text[: text.rfind("\n") + 1].splitlines()  # the last may be half-written
        assert re.search(r"\(\d+ lines before this one could not be written\)", "\n".join(lines))
        assert [line for line in lines if [found.start() for found in BEGINNING.finditer(line)] != [0]] == []
