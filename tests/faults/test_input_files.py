"""A run's folder as a crash, a stranger or an enemy leaves it: one clear line, or the report of what is whole."""

import base64
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from harness import compare, results
from harness.analysis.latency import LatencyHistogram
from harness.errors import BadInput
from harness.registry import ROOT
from tests import hostile, run_folders
from tests.commands import Said, run
from tests.run_folders import NOT_HERE, Files

SCHEMAS: dict[str, Files] = {"schema 1": run_folders.of_schema_1(), "schema 2": run_folders.of_schema_2()}
CELL = "short/w1/c100/idle1000"
FEW = settings(max_examples=60, derandomize=True, suppress_health_check=list(HealthCheck))
MOST_BYTES = 64 * 2**20
"""What refusing a file may take: it reads 16 MiB of one before it knows that there is more."""
ENDS_WITHIN_S = 60.0


@pytest.fixture(autouse=True)
def _goes_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no broken run that --resume takes after all make hosts and load."""

    def refuse(*_: object) -> None:
        raise BadInput("the test ends it here")

    monkeypatch.setattr(compare, "_opened", refuse)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return run_folders.write(SCHEMAS["schema 2"], tmp_path / "run")


def commands(broken: Path, good: Path) -> Iterator[Said]:
    yield run("report", broken)
    yield run("explain", broken, "short")
    yield run("diff", good, broken)
    yield run("diff", broken, good)
    yield run("compare", "--resume", broken)


def check(broken: Path, good: Path) -> bool:
    """Run every command on a broken folder; returns whether it could be read."""
    for said in commands(broken, good):
        assert said.moves_no_cursor, said
        assert (said.status == 0 and not said.err) or said.is_one_line_of_error, said
        if said.err.startswith(f"harness: error: {broken}"):
            return False
    return True


@pytest.mark.parametrize("schema", SCHEMAS)
def test_the_files_of_a_run_hold_rubbish__each_command_says_so_in_one_line_or_reports_what_is_whole(
    tmp_path: Path, schema: str
) -> None:
    files = SCHEMAS[schema]
    good = run_folders.write(files, tmp_path / "good")
    assert check(good, good)
    read: list[bool] = []

    @FEW
    @given(hostile.broken_files(files))
    def each_command(broken: Files) -> None:
        read.append(check(run_folders.write(broken, tmp_path / "broken"), good))

    each_command()
    assert any(read), "nothing was read: the commands' own work was not tried"
    assert not all(read)


def test_a_file_of_a_run_is_cut_off_at_any_byte__it_is_named_or_its_last_line_alone_is_left_out(tmp_path: Path) -> None:
    files = dict(SCHEMAS["schema 1"])
    summary = json.loads(files[results.SUMMARY])
    files[results.SUMMARY] = json.dumps({**summary, "cells": summary["cells"][:1], "rankings": []}).encode()
    for name, lines in ((results.SLICES, 1), (results.HISTOGRAMS, 5)):
        files[name] = b"".join(files[name].splitlines(keepends=True)[:lines])
    folder = run_folders.write(files, tmp_path / "run")
    for name, data in files.items():
        for end in reversed(range(len(data.rstrip()))):
            os.truncate(folder / name, end)
            if name.endswith(".json"):
                with pytest.raises(BadInput, match=rf"^{folder / name}: .*; it must be as harness compare wrote it$"):
                    results.load(folder)
            else:
                cut = end > 0 and data[end - 1 : end] != b"\n"
                noted = (f"{folder / name}: the last line is cut off and left out",) if cut else ()
                assert results.load(folder).notes == noted
        (folder / name).write_bytes(data)
    assert not results.load(folder).notes


def test_the_last_line_lacks_nothing_but_its_end__it_is_left_out_since_going_on_drops_it(folder: Path) -> None:
    for name in (results.SLICES, results.HISTOGRAMS):
        (folder / name).write_bytes((folder / name).read_bytes()[:-1])
    before = SCHEMAS["schema 2"][results.SLICES].count(b"\n")
    stored = results.load(folder)
    assert len(stored.slices) == before - 1
    assert len(stored.notes) == 2
    with results.RunFolder.reopen(stored):
        pass
    assert results.load(folder).slices == stored.slices


def as_folder(path: Path) -> None:
    path.mkdir()


def as_loop(path: Path) -> None:
    path.symlink_to(path.name)


def as_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def as_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        directory = os.open(path.parent, os.O_PATH)  # a socket's own name may have 107 bytes
        made.bind(f"/proc/self/fd/{directory}/{path.name}")
        os.close(directory)


@pytest.mark.parametrize("name", SCHEMAS["schema 2"])
@pytest.mark.parametrize("make", [as_folder, as_loop, as_device, os.mkfifo, as_socket])
def test_a_file_of_a_run_is_a_folder_or_FIFO_or_device_or_loop__it_is_named_and_nobody_waits(  # noqa: N802  as it is called
    folder: Path, name: str, make: Callable[[Path], None]
) -> None:
    (folder / name).unlink()
    make(folder / name)
    said = run("report", folder)
    assert said.is_one_line_of_error
    assert said.err.startswith(f"harness: error: {folder / name}: cannot be read: ")


def bomb() -> str:
    """Return a histogram of some hundred kilobytes that is 256 MiB when it is decompressed."""
    squeezer = zlib.compressobj(1)
    zeros = bytes(2**20)
    data = b"".join([*(squeezer.compress(zeros) for _ in range(256)), squeezer.flush()])
    header = base64.b64decode(LatencyHistogram().encode())[:4]
    return base64.b64encode(header + struct.pack(">I", len(data)) + data).decode()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (results.PLAN, "is larger than 16 MiB"),
        (results.SLICES, "line 1: is longer than 4 MiB"),
        (results.HISTOGRAMS, "line 9: not an HdrHistogram: cut off, or far larger than one"),
    ],
)
def test_a_file_of_a_run_stands_for_far_more_than_it_shows__it_is_refused_without_holding_that(
    folder: Path, name: str, said: str
) -> None:
    if name == results.HISTOGRAMS:
        kept = (folder / name).read_bytes().splitlines(keepends=True)[:8]
        tag, start, length, longest, _ = kept[-1].decode().split(",")
        kept.append(f"{tag},{start},{length},{longest},{bomb()}\n".encode())
        (folder / name).write_bytes(b"".join(kept))
    else:
        with (folder / name).open("wb") as file:
            file.truncate(2**40)  # a hole, which takes no disk
    tracemalloc.start()
    try:
        with pytest.raises(BadInput, match=f"^{folder / name}.*{said}"):
            results.load(folder)
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()


def test_a_file_of_a_run_is_a_fifo__the_real_command_ends_with_status_2_and_one_line(
    folder: Path,
) -> None:
    (folder / results.SLICES).unlink()
    os.mkfifo(folder / results.SLICES)
    done = subprocess.run(
        [sys.executable, "-m", "harness", "report", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=ENDS_WITHIN_S,
        check=False,
    )
    said = f"harness: error: {folder / results.SLICES}: cannot be read: is a FIFO, not a plain file\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


def changed(folder: Path, name: str, old: str, new: str) -> None:
    text = (folder / name).read_text(encoding="utf-8")
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        (results.PLAN, '"seed":7', '"seed":7,"seed":8', "the key 'seed' stands there twice"),
        (results.SLICES, '"position":0', '"position":0,"position":1', "line 1: the key 'position' stands there twice"),
        (results.PLAN, '"seed":7', f'"seed":7,"more":{"[" * 5000}', "is nested deeper than any file of a run"),
        (results.PLAN, '"seed":7', f'"seed":1{"0" * 400}', "`$.seed`"),
        (results.PLAN, '"seed":7', f'"seed":1{"0" * 5000}', "`$.seed`"),
        (results.PLAN, '"slice_s":0.05', '"slice_s":1e400', "Number out of range"),
        (results.PLAN, '"slice_s":0.05', '"slice_s":NaN', "JSON is malformed"),
        (results.PLAN, '"rounds":50', '"rounds":-1', "Expected `int` >= 0 - at `$.rounds`"),
        (results.SLICES, '"requests":', f'"requests":{2**53}0,"more":', "line 1: Expected `int` <= 9007199254740992"),
        (results.PLAN, f"[{NOT_HERE}]", f"[{2**40}]", "Expected `int` <= 65535"),
        (results.PLAN, '"argv":["python","-m","impls.trio"]', '"argv":[]', "Expected `array` of length >= 1"),
        (results.PLAN, '"schema":2', '"schema":3', "has schema 3, but this version of percore reads schemas 1 to 2"),
        (results.PLAN, '"schema":2', f'"schema":1{"0" * 5000}', "schema"),
        (results.ENVIRONMENT, '"6.1"', '"\ud7ff\x00"', "JSON is malformed"),
    ],
)
def test_a_value_in_a_file_is_wrong__one_line_names_the_file_the_place_and_what_would_be_right(
    folder: Path, name: str, old: str, new: str, said: str
) -> None:
    changed(folder, name, old, new)
    found = run("report", folder)
    assert found.is_one_line_of_error, found
    assert found.err.startswith(f"harness: error: {folder / name}")
    assert said in found.err


def test_a_file_of_a_run_is_not_UTF_8__the_byte_is_named(folder: Path) -> None:  # noqa: N802  as it is called
    data = (folder / results.PLAN).read_bytes().replace(b"epoll_raw", b"epoll\xffraw")
    (folder / results.PLAN).write_bytes(data)
    found = run("report", folder)
    assert found.is_one_line_of_error
    assert f"plan.json: is not UTF-8: byte {data.index(0xFF)} is 0xff" in found.err


@pytest.mark.parametrize("name", [*hostile.MARKUP, *hostile.INVISIBLE, "x" * 300_000])
def test_a_name_has_markup_or_control_characters__it_is_shown_as_text_and_moves_no_cursor(
    tmp_path: Path, name: str
) -> None:
    coded, hidden = json.dumps(name), name.encode().decode("latin-1")
    files = {
        file: data.replace(b'"6.2"', coded.encode()).replace(b'"timeout"', coded.encode())
        for file, data in trio_renamed(name).items()
    }
    good = run_folders.write(SCHEMAS["schema 2"], tmp_path / "good")
    broken = run_folders.write(files, tmp_path / "broken")
    for said in commands(broken, good):
        assert said.moves_no_cursor
        assert hidden.isprintable() or hidden not in said.out + said.err
    if name.startswith("[") and len(name) < 12:
        assert name in run("report", broken).out


def trio_renamed(name: str) -> dict[str, bytes]:
    """Call an implementation otherwise in the files of a run; its times are left out: no tag takes any name."""
    files = {file: data.replace(b'"trio"', json.dumps(name).encode()) for file, data in SCHEMAS["schema 2"].items()}
    times = files[results.HISTOGRAMS].splitlines(keepends=True)
    return {**files, results.HISTOGRAMS: b"".join(line for line in times if b"/trio" not in line)}


def test_a_folder_s_own_name_has_control_characters__they_are_escaped_in_the_line(tmp_path: Path) -> None:
    said = run("report", tmp_path / "a\x1b[31m\nb\u202e")
    assert said.is_one_line_of_error
    assert said.moves_no_cursor
    assert "a\\x1b[31m b\\u202e: not a folder of results; name the folder of one run" in said.err


@pytest.mark.parametrize("name", ["../../outside", "a/b", "[red]x", "", "-w"])
def test_a_plan_has_a_name_that_leads_elsewhere__going_on_with_it_is_refused(tmp_path: Path, name: str) -> None:
    folder = run_folders.write(trio_renamed(name), tmp_path / "run")
    said = run("compare", "--resume", folder)
    assert said.is_one_line_of_error
    assert f"--resume {folder}: {name!r} in its plan is no name that harness compare takes" in said.err


def test_a_file_of_a_run_is_a_link__going_on_replaces_the_link_and_not_what_it_leads_to(folder: Path) -> None:
    kept = folder.parent / "kept.json"
    shutil.move(folder / results.PLAN, kept)
    (folder / results.PLAN).symlink_to(kept)
    before = kept.read_bytes()
    stored = results.load(folder)
    with results.RunFolder.reopen(stored) as opened:
        opened.write_plan(stored.plan)
    assert kept.read_bytes() == before
    assert results.load(folder).plan == stored.plan


def test_a_plan_has_far_too_many_cells__it_is_refused_at_once(folder: Path) -> None:
    plan = json.loads((folder / results.PLAN).read_bytes())
    one = plan["cells"][1]
    plan["cells"] = [{**one, "concurrency": 1 + number} for number in range(6000)]
    (folder / results.PLAN).write_text(json.dumps(plan))
    said = run("report", folder)
    assert said.is_one_line_of_error
    assert "plan.json: it has more than 10000 figures" in said.err
