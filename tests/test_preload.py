"""Servers with a library in LD_PRELOAD: they have it and nobody else, and where one has it not, nothing is claimed."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from harness import ports, preload, results, resumption, versions
from harness.analysis import diff
from harness.analysis.comparison import compare
from harness.environment_schema import Environment
from harness.errors import BadInput
from harness.registry import ROOT, Implementation, find, vary
from harness.report import plan as plan_report
from harness.schema import Library, Plan
from harness.servers import Server, ServerFailed
from harness.variants import Variant
from tests import simulated
from tests.commands import run
from tests.preload import calls

[REFERENCE] = find("epoll_raw")
UNCHECKED = [sys.executable, "-m", "tests.unchecked"]


def loaded_library() -> Path:
    """Find a shared library that any program of this machine can load: one that this one has."""
    ctypes.CDLL("libm.so.6")
    lines = Path("/proc/self/maps").read_text().splitlines()
    return next(Path(line.split()[-1]) for line in lines if line.split()[-1].rpartition("/")[2].startswith("libm"))


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """Make a library that needs no compiler: it does nothing."""
    path = tmp_path / "libidle.so"
    path.write_bytes(loaded_library().read_bytes())
    return preload.describe(str(path))


def with_library(library: Library, *argv: str) -> Implementation:
    plain = Implementation("mine", argv, None, external=True) if argv else REFERENCE
    return vary(plain, Variant(preload=library))


def test_a_library_is_called_as_the_user_says_or_as_its_file(library: Library, tmp_path: Path) -> None:
    assert library.name == "idle"
    assert preload.describe(f"fastsocket={library.path}").name == "fastsocket"
    link = tmp_path / "liblink.so.1.2"
    link.symlink_to(library.path)
    linked = preload.describe(str(link))
    assert (linked.name, linked.path, linked.sha256) == ("link", library.path, library.sha256)
    with_sign = tmp_path / "a=b.so"
    with_sign.symlink_to(library.path)
    with pytest.raises(BadInput, match="give LIBRARY=PATH"):
        preload.describe(str(with_sign))
    assert preload.describe(f"signed={with_sign}").path == library.path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/nosuch.so", "'/nosuch.so': there is no such file"),
        ("x=/nosuch.so", "'x=/nosuch.so': there is no such file"),
        ("a\0b.so", "is no path"),
        ("{library}/below", "cannot be read"),
        ("{folder}", "cannot be read"),
        ("/dev/zero", "is a device, not a plain file"),
        ("{text}", "is no shared library for this machine"),
        ("{empty}", "is no shared library for this machine"),
        ("{foreign}", "is no shared library for this machine"),
        ("lean={library}", "+lean is a variant already"),
        ("shared={library}", "+shared is a variant already"),
        ("percpu={library}", "+percpu is a variant already"),
        ("={library}", "give LIBRARY=PATH"),
        ("a+b={library}", "give LIBRARY=PATH"),
        ("{spaced}", "LD_PRELOAD takes no path with blanks"),
    ],
)
def test_what_is_no_library_is_named_in_one_line(text: str, said: str, library: Library, tmp_path: Path) -> None:
    contents = Path(library.path).read_bytes()
    files = {
        "text": b"#!/bin/sh\nexit 0\n" * 10,
        "empty": b"",
        "foreign": contents[:18] + b"\xff\xff" + contents[20:],
        "spaced": contents,
    }
    paths = {name: tmp_path / f"lib{name}{' .' * (name == 'spaced')}.so" for name in files}
    for name, path in paths.items():
        path.write_bytes(files[name])
    given = text.format(library=library.path, folder=tmp_path, **paths)
    ended = run("conform", "--impls", "epoll_raw", "--preload", given)
    assert ended.is_one_line_of_error
    assert said in ended.err


def bytes_read() -> int:
    """Tell what this process has read so far, from files and elsewhere (proc_pid_io(5))."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["rchar"])


def test_a_file_is_not_read_to_see_that_it_is_no_library_nor_again_while_it_is_the_same(
    library: Library, tmp_path: Path
) -> None:
    large = 2**24
    text = tmp_path / "text.so"
    text.touch()
    os.truncate(text, large)
    os.truncate(library.path, large)
    before = bytes_read()
    with pytest.raises(BadInput, match="is no shared library"):
        preload.describe(str(text))
    assert bytes_read() - before < large / 2
    found = preload.describe(library.path)
    before = bytes_read()
    assert preload.is_unchanged(found)
    assert bytes_read() - before < large / 2
    text.replace(library.path)
    assert not preload.is_unchanged(found)


def test_a_server_and_its_workers_have_it(library: Library, tmp_path: Path) -> None:
    assert versions.ask(with_library(library)) == versions.ask(REFERENCE)
    with (
        ports.reserve("127.0.0.1") as address,
        Server(with_library(library), ["-w", "1"], [address], tmp_path, "x") as server,
    ):
        server.wait_ready()
        server.wait_forked(1)
        pids = server.process_pids()
        assert len(pids) == 2
        assert all(preload.is_mapped(library, pid) for pid in pids)


def test_it_comes_after_what_the_user_has_there(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printing = (sys.executable, "-c", "import os; print(os.environ['LD_PRELOAD'])")
    own = tmp_path / "libown.so"
    own.write_bytes(Path(library.path).read_bytes())
    monkeypatch.setenv("LD_PRELOAD", str(own))
    assert versions.ask(with_library(library, *printing)) == f"{own}:{library.path}"
    assert versions.ask(Implementation("mine", printing, None, external=True)) == str(own)


def test_what_the_user_has_there_and_cannot_be_loaded_is_nothing_to_the_variant(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_PRELOAD", str(tmp_path / "libnosuch.so"))
    assert versions.ask(with_library(library)) == versions.ask(REFERENCE)


def test_a_server_that_loses_it_fails(library: Library, tmp_path: Path) -> None:
    """Its ``--version`` ends well; only its processes tell."""
    losing = replace(REFERENCE, argv=("env", "-u", "LD_PRELOAD", *REFERENCE.argv), variant=Variant(preload=library))
    assert "percore" in versions.ask(losing)
    with (
        ports.reserve("127.0.0.1") as address,
        Server(losing, ["-w", "1"], [address], tmp_path, "x") as server,
    ):
        for wait in (server.wait_listening, server.wait_ready):
            with pytest.raises(ServerFailed, match=f"^epoll_raw runs without {library.path}, which it was to load"):
                wait()


def test_a_server_with_a_library_that_was_replaced_meanwhile_fails(library: Library, tmp_path: Path) -> None:
    with Path(library.path).open("ab") as file:
        file.write(b"another")
    with (
        ports.reserve("127.0.0.1") as address,
        Server(with_library(library), ["-w", "1"], [address], tmp_path, "x") as server,
        pytest.raises(ServerFailed, match=f"was started with {library.path}, which is not what it was when this run"),
    ):
        server.wait_ready()


def test_a_library_that_cannot_be_loaded_is_refused_before_anything_is_checked(library: Library) -> None:
    """It looks like one, and the loader says that it is none, and runs the program without."""
    contents = Path(library.path).read_bytes()
    Path(library.path).write_bytes(contents[:30])
    ended = run("conform", "--impls", "epoll_raw", "--preload", library.path)
    assert ended.is_one_line_of_error
    assert f"epoll_raw+idle: cannot be started with LD_PRELOAD={library.path}: ERROR: ld.so: object" in ended.err


def test_a_library_that_ends_its_program_is_told_with_its_words(
    tool: Callable[[str, str], str], tmp_path: Path
) -> None:
    path = tmp_path / "libends.so"
    source = tmp_path / "ends.c"
    source.write_text(
        "#include <stdio.h>\n#include <stdlib.h>\n"
        '__attribute__((constructor)) static void begin(void) { fputs("no channel\\n", stderr); exit(9); }\n'
    )
    subprocess.run([tool("gcc", "gcc libc6-dev"), "-shared", "-fPIC", "-o", path, source], check=True)
    ended = run("conform", "--impls", "trio", "--preload", path)
    assert ended.is_one_line_of_error
    assert f"trio+ends: cannot be started with LD_PRELOAD={path}: no channel (status 9)" in ended.err


def plan_with(library: Library) -> Plan:
    made = simulated.planned(["epoll_raw", f"epoll_raw+{library.name}"])
    plain, other = made.implementations
    other = msgspec.structs.replace(other, argv=(sys.executable, "-m", "impls.epoll_raw"), preload=library)
    return msgspec.structs.replace(made, implementations=(plain, other))


def test_a_run_goes_on_only_with_the_same_library(library: Library) -> None:
    planned = plan_with(library)
    found = resumption.implementations(planned, Path("run"))
    assert [one.variant.preload for one in found] == [None, library]
    Path(library.path).write_bytes(b"another")
    with pytest.raises(BadInput, match=f"--resume run: {library.path} is not what epoll_raw.idle was run with; begin"):
        resumption.implementations(planned, Path("run"))
    Path(library.path).unlink()
    with pytest.raises(BadInput, match=f"--resume run: {library.path} is not what epoll_raw.idle was run with; begin"):
        resumption.implementations(planned, Path("run"))


def test_a_plan_whose_names_and_libraries_disagree_does_not_go_on(library: Library) -> None:
    for changed in (msgspec.structs.replace(library, name="other"), None):
        planned = plan_with(library)
        plain, other = planned.implementations
        wrong = msgspec.structs.replace(
            planned, implementations=(plain, msgspec.structs.replace(other, preload=changed))
        )
        with pytest.raises(BadInput, match=r"'epoll_raw\+idle' in its plan is no name that harness compare takes"):
            resumption.implementations(wrong, Path("run"))


def test_the_plan_and_a_diff_tell_of_the_library(library: Library) -> None:
    planned = plan_with(library)
    shown = " ".join(plan_report.render(planned).split())
    assert f"LD_PRELOAD of epoll_raw+idle: {library.path} ({library.size_bytes:,} bytes, SHA-256" in shown
    other = plan_with(msgspec.structs.replace(library, sha256="0" * 64))
    summary = compare(planned, [], {})
    old, new = (diff.Judged(one, summary, Environment()) for one in (planned, other))
    said = f"LD_PRELOAD of epoll_raw+idle: {library.path} with SHA-256 {library.sha256} then, {library.path} with SHA"
    assert [one for one in diff.compare_runs(old, new).differences if one.startswith(said)]
    assert not diff.compare_runs(old, old).differences


def test_in_a_run_the_variants_have_it_and_nothing_else(
    tool: Callable[[str, str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = tmp_path / "calls"
    monkeypatch.setenv("PERCORE_CALLS", str(written))
    library = calls.compile_library(tool, tmp_path)
    options = ["--impls", "epoll_raw", "--preload", library, "--workloads", "proxy", "--testbed", "loopback"]
    options += ["--budget", "1s", "--blocks", "1", "--seed", "1", "--out", tmp_path / "runs"]
    ended = subprocess.run(
        [*UNCHECKED, "compare", *map(str, options)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode in {0, 1}, ended.stderr  # beside other tests a server may get too little time
    [run_folder] = (tmp_path / "runs").iterdir()
    stored = results.load(run_folder)
    assert [(one.name, one.preload and one.preload.path) for one in stored.plan.implementations] == [
        ("epoll_raw", None),
        ("epoll_raw+calls", str(library)),
    ]
    commands = calls.loaded_in(written).values()
    logs = {Path(part).name for command in commands for part in command.split() if part.endswith(".log")}
    assert logs == {"epoll_raw+calls.log"}
    assert all("-m impls.epoll_raw" in command for command in commands)
