"""A stored run for other programs: each format read back by a reader of its own, and what is refused."""

import csv
import io
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from harness import results
from harness.analysis.comparison import compare
from harness.export import csv_table, parquet_table, tables
from harness.export.parquet_table import PLAN_KEY
from harness.profile_schema import ImplementationProfile, Part, Profile
from harness.registry import ROOT
from harness.schema import Estimate, Plan, Slice, Summary
from tests import run_folders
from tests.commands import run
from tests.simulated import Server, cell, measure, planned

FILES = run_folders.of_schema_2()
HOSTILE = '=cmd|"x",\r\n\u202e\x07ü'
ENDS_WITHIN_S = 100.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return run_folders.write(FILES, tmp_path / "run")


@pytest.fixture
def scaled(tmp_path: Path) -> Path:
    """Make a run of harness scale that says less of 2 workers than it could."""
    cells = [msgspec.structs.replace(cell(), workers=number, concurrency=100 * number) for number in (1, 2)]
    plan = msgspec.structs.replace(planned(["epoll_raw"], *cells), interleaved=True)
    slices = measure(plan, {"epoll_raw": Server(2000)}, rounds=8)
    text = b"".join(msgspec.json.encode(piece) + b"\n" for piece in slices)
    plain = {**FILES, results.PLAN: msgspec.json.encode(plan), results.SLICES: text, results.HISTOGRAMS: b""}
    del plain[results.SUMMARY]
    return run_folders.write(plain, tmp_path / "scaled")


@pytest.fixture
def profiled(tmp_path: Path) -> Path:
    part = Part(name=HOSTILE, us_per_request=Estimate(2.0, 1.0, 3.0), share=0.5, samples=9)
    found = Profile(
        workload="short", concurrency=100, rate_rps=1000, server_cpus=(0,), frequency_hz=999,
        implementations=(ImplementationProfile(impl="trio", categories=(part,), contexts=(part, part)),),
    )  # fmt: skip
    plan = msgspec.structs.replace(planned(["trio"]), command="profile")
    files = {results.PLAN: msgspec.json.encode(plan), results.PROFILE: msgspec.json.encode(found)}
    return run_folders.write(files, tmp_path / "profiled")


def exported(folder: Path, kind: str, *options: str) -> bytes:
    out = folder.parent / f"{folder.name}.{kind}"
    said = run("export", folder, "--format", kind, "--out", out, *options)
    assert (said.status, said.out, said.err) == (0, "", "")
    return out.read_bytes()


def as_csv(folder: Path, *options: str) -> list[dict[str, str]]:
    text = exported(folder, "csv", *options).decode()
    assert text.count("\r\n") > 1
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def as_parquet(folder: Path, *options: str) -> Any:
    return pq.read_table(io.BytesIO(exported(folder, "parquet", *options)))


def judged(folder: Path) -> Summary:
    stored = results.load(folder)
    return compare(stored.plan, stored.slices, stored.histograms)


def samples(folder: Path) -> dict[tuple[str, str, str], list[float]]:
    """Return what is said of each implementation in each workload, by the family's name."""
    text = exported(folder, "openmetrics").decode()
    assert text.endswith("# EOF\n")
    found: dict[tuple[str, str, str], list[float]] = {}
    for family in text_string_to_metric_families(text):  # type: ignore[no-untyped-call]  # it has no type
        assert family.documentation
        assert not family.unit or family.name.endswith(f"_{family.unit}")
        for one in family.samples:
            key = (one.name, one.labels.get("impl", ""), one.labels.get("workload", ""))
            found.setdefault(key, []).append(one.value)
    return found


def test_both_kinds_of_tables_say_the_same_and_what_the_report_says(folder: Path) -> None:
    rows, table, summary = as_csv(folder), as_parquet(folder), judged(folder)
    assert list(rows[0]) == table.column_names
    typed = table.to_pylist()
    assert len(rows) == len(typed) == len(summary.cells)
    for entry, text, row in zip(summary.cells, rows, typed, strict=True):
        assert (row["cell"], row["impl"], row["verdict"]) == (entry.cell.key, entry.impl, entry.verdict)
        assert (row["workers"], row["conformant"], row["rate_rps"]) == (1, True, entry.rate_rps)
        assert row["throughput_rps"] == entry.throughput_rps.value
        assert row["throughput_rps_low"] == entry.throughput_rps.low
        assert row["cpu_us_per_request_user"] == entry.cpu_us_per_request.user
        assert row["latency_us_p99_9"] == entry.latency_us.p99_9
        assert row["segments_per_request_in"] == entry.segments_per_request.in_
        assert json.loads(row["errors_by_kind"]) == entry.errors_by_kind
        for name, value in row.items():
            shown = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            assert text[name] == shown, name
    assert any(row["latency_us_p50"] is None for row in typed)
    assert any(row["latency_us_p50"] is not None for row in typed)
    ranks = {(one.cell.key, place.impl): place.rank for one in summary.rankings for place in one.standings}
    assert ranks
    assert {(row["cell"], row["impl"]): row["rank"] for row in typed if row["rank"] is not None} == ranks
    assert msgspec.json.decode(table.schema.metadata[PLAN_KEY], type=Plan) == results.load_plan(folder)


def test_slices_are_exported_as_they_were_measured(folder: Path) -> None:
    stored = results.load(folder).slices
    typed = as_parquet(folder, "--table", "slices").to_pylist()
    rows = as_csv(folder, "--table", "slices")
    assert len(stored) == len(typed) == len(rows)
    for piece, row, text in zip(stored, typed, rows, strict=True):
        assert (row["cell"], row["impl"], row["round"], row["phase"]) == (
            *(piece.cell, piece.impl),
            *(piece.round, piece.phase),
        )
        assert piece.tcp is not None
        assert row["tcp_segments_in"] == piece.tcp.segments_in
        assert row["generator_cpu_ns"] == piece.generator_cpu_ns == json.loads(text["generator_cpu_ns"])
        assert msgspec.json.decode(row["cpus"]) == msgspec.to_builtins(piece.cpus) == json.loads(text["cpus"])


def test_rows_and_samples_of_several_runs_can_be_told_apart(folder: Path, scaled: Path, profiled: Path) -> None:
    for one, names in ((folder, ("summary", "slices")), (scaled, ("scaling",)), (profiled, ("profile",))):
        reference = results.load_plan(one).reference
        for name in names:
            assert {(row["run"], row["reference"]) for row in as_csv(one, "--table", name)} == {(one.name, reference)}
        text = exported(one, "openmetrics").decode()
        families = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]  # it has no type
        labels = [sample.labels for family in families for sample in family.samples]
        assert {(each["run"], each["reference"]) for each in labels} == {(one.name, reference)}


def test_a_run_of_an_earlier_version_has_what_it_knew() -> None:
    folder = Path(run_folders.VERSION_1)
    plan = results.load_plan(folder)
    text = io.BytesIO()
    csv_table.write(tables.slices("run", plan, results.stream_slices(folder, plan, [])), text)
    rows = list(csv.DictReader(io.StringIO(text.getvalue().decode(), newline="")))
    assert rows
    assert {row["tcp_segments_in"] for row in rows} == {""}


def test_openmetrics_says_what_the_summary_says_in_base_units(folder: Path) -> None:
    summary, found = judged(folder), samples(folder)
    for entry in summary.cells:
        key = (entry.impl, entry.workload)
        assert entry.requests in found["percore_requests", *key]
        for name, figure in (
            ("percore_throughput_requests_per_second", entry.throughput_rps.value),
            ("percore_throughput_low_requests_per_second", entry.throughput_rps.low),
            ("percore_cpu_high_ratio", entry.cpu_ratio.high),
        ):
            assert figure is None or figure in found[name, *key]
        if entry.cpu_us_per_request.total is not None:
            in_seconds = pytest.approx(entry.cpu_us_per_request.total / 1e6)
            assert any(value == in_seconds for value in found["percore_cpu_per_request_seconds", *key])
    one = next(one for one in summary.cells if one.latency_us.p50 is not None)
    assert one.latency_us.p50 is not None
    in_seconds = pytest.approx(one.latency_us.p50 / 1e6)
    assert any(value == in_seconds for value in found["percore_latency_seconds", one.impl, one.workload])
    assert [key[1:] for key in found if key[0] == "percore_run_info"] == [("", "")]


def test_scale_has_a_table_of_its_own(scaled: Path) -> None:
    rows = as_parquet(scaled, "--table", "scaling").to_pylist()
    points = [point for one in judged(scaled).scaling for point in one.points]
    assert [(row["workers"], row["speed_up"], row["efficiency_low"]) for row in rows] == [
        (point.workers, point.speed_up.value, point.efficiency.low) for point in points
    ]
    assert [row["law_sigma"] for row in rows] == [None, None]
    assert rows[0]["why_no_law"]
    assert samples(scaled)["percore_scaling_speed_up_ratio", "epoll_raw", "short"] == [
        point.speed_up.value for point in points if point.speed_up.value is not None
    ]


def test_a_profile_has_a_table_of_its_own_and_texts_come_back_as_they_are(profiled: Path) -> None:
    rows = as_csv(profiled)
    assert [(row["impl"], row["by"], row["name"]) for row in rows] == [
        ("trio", by, HOSTILE) for by in ("category", "context", "context")
    ]
    assert rows[0]["us_per_request_high"] == "3.0"
    assert as_parquet(profiled, "--table", "profile").to_pylist()[2]["name"] == HOSTILE


def test_what_was_measured_until_it_was_cut_off_is_exported_and_the_rest_is_told(folder: Path) -> None:
    with (folder / results.SLICES).open("ab") as file:
        file.write(b'{"cell":')
    (folder / results.SUMMARY).unlink()
    for table in ("summary", "slices"):
        out = folder.parent / "x.csv"
        said = run("export", folder, "--format", "csv", "--table", table, "--out", out)
        assert (said.status, said.out) == (0, "")
        assert said.err == "" or "the last line is cut off" in said.err
        assert out.read_bytes()


@pytest.mark.parametrize("kind", ["csv", "parquet", "openmetrics"])
def test_a_run_without_figures_is_exported(kind: str, tmp_path: Path) -> None:
    plan = planned(["epoll_raw"], cell(), broken={"epoll_raw": ["REPLY-BYTES"]})
    files = {results.PLAN: msgspec.json.encode(plan), results.SLICES: b"", results.HISTOGRAMS: b""}
    folder = run_folders.write(files, tmp_path / "run")
    assert exported(folder, kind)
    if kind == "csv":
        [row] = as_csv(folder)
        assert (row["verdict"], row["throughput_rps"], row["conformant"]) == ("not-conformant", "", "false")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_very_many_slices_are_not_held_in_memory(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_table, "_ROWS_AT_A_TIME", 50)
    plan = planned(["a"])
    [piece] = measure(plan, {"a": Server(2000)}, rounds=1)
    piece = msgspec.structs.replace(piece, failure="x" * 20_000)

    def many() -> Iterator[Slice]:
        yield from (msgspec.structs.replace(piece, failure=f"{number}{piece.failure}") for number in range(400))

    write = csv_table.write if kind == "csv" else parquet_table.write
    with Path(os.devnull).open("wb") as nowhere:
        tracemalloc.start()
        try:
            write(tables.slices("run", plan, many()), nowhere)
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert most < 4_000_000, "all of it is 8 MB"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--format", "xml"], "Invalid value for '--format': 'xml' is not one of 'csv', 'parquet', 'openmetrics'."),
        (["--format", "csv", "--table", "scaling"], "--table scaling: {run} has no such table; it has summary, slices"),
        (["--format", "csv", "--table", "profile"], "--table profile: {run} has no such table; it has summary, slices"),
        (["--format", "openmetrics", "--table", "slices"], "--table slices: OpenMetrics has all of the summary and"),
        (["--format", "csv", "--out", "/nosuch/x"], "/nosuch/x: cannot be written: No such file or directory"),
        (["--format", "csv", "--out", "/dev/full"], "/dev/full: cannot be written: No space left on device"),
        (["--format", "parquet", "--out", "/dev/full"], "/dev/full: cannot be written: No space left on device"),
        (["--format", "openmetrics", "--out", "/dev/full"], "/dev/full: cannot be written: No space left on device"),
        (["--format", "csv", "--out", "/"], "/: cannot be written: Is a directory"),
    ],
)
def test_what_cannot_be_is_refused(options: list[str], why: str, folder: Path) -> None:
    said = run("export", folder, *options)
    assert said.is_one_line_of_error, said
    assert said.err.startswith(f"harness: error: {why.format(run=folder)}"), said.err
    assert "slices, scaling" not in said.err, "which would be refused, too"


def test_what_is_no_run_is_refused_and_the_old_file_is_still_there(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.csv"
    out.write_text("old")
    said = run("export", tmp_path, "--format", "csv", "--out", out)
    assert said.is_one_line_of_error
    lines = (folder / results.SLICES).read_bytes().splitlines(keepends=True)
    (folder / results.SLICES).write_bytes(b"".join([*lines[:5], b"{}\n", *lines[5:]]))
    said = run("export", folder, "--format", "csv", "--table", "slices", "--out", out)
    assert said.is_one_line_of_error
    assert f"{folder}/slices.jsonl, line 6: " in said.err
    assert out.read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"run", "x.csv"}


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_runs_own_file_is_never_written_to(name: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder / name)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for out in (folder / name, folder / ".." / "run" / name, tmp_path / "link"):
        for words in (
            ("export", folder, "--format", "csv", "--out", out),
            ("report", folder, "--html", "--out", out),
            ("diff", folder, folder, "--json", out),
            ("cost", "--json", out),
            ("compare", "--dry-run", "--json", out),
        ):
            said = run(*words)
            assert said.is_one_line_of_error, said
            assert f"{out}: is a run's own file, which would be lost; name another" in said.err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    "words",
    [
        "report {}", "report {run} --html --out {}", "explain {} short", "export {} --format csv", "diff {run} {}",
        "export {run} --format csv --out {}", "export {run} --format csv --out {}/x", "compare --resume {}",
        "compare --dry-run --json {}", "watch {}", "doctor --json {}", "compare --dry-run --plan {}",
    ],
)  # fmt: skip
def test_a_path_that_cannot_be_looked_at_is_named(words: str, folder: Path) -> None:
    nowhere = "x" * 300  # as where there is no permission, root's as well
    said = run(*words.format(nowhere, run=folder).split())
    assert said.is_one_line_of_error, said
    assert nowhere in said.err
    assert "File name too long" in said.err


def command(folder: Path, kind: str) -> list[str]:
    return [sys.executable, "-m", "harness", "export", str(folder), "--format", kind]


def test_standard_output_gets_the_same(folder: Path) -> None:
    done = subprocess.run(command(folder, "parquet"), cwd=ROOT, capture_output=True, timeout=ENDS_WITHIN_S, check=True)
    assert done.stderr == b""
    assert done.stdout == exported(folder, "parquet")


def test_a_full_standard_output_is_told(folder: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command(folder, "openmetrics"), cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True,
            timeout=ENDS_WITHIN_S, check=False,
        )  # fmt: skip
    problem = "standard output: cannot be written: No space left on device"
    assert (done.returncode, done.stderr) == (1, f"harness: error: {problem}\n")


def test_a_closed_standard_output_is_no_error(folder: Path) -> None:
    words = ["sh", "-c", 'exec "$@" >&-', "sh", *command(folder, "csv")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=ENDS_WITHIN_S, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_parquet_is_nothing_for_a_terminal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda _: True)
    said = run("export", folder, "--format", "parquet")
    assert said.err == "harness: error: --format parquet: is nothing for a terminal; give --out FILE\n"
    assert (said.status, said.out) == (2, "")


def test_names_of_columns_are_told_apart() -> None:
    plan, nothing = planned(["a"]), Summary(reference="a", cells=())
    for table in (
        tables.summary("run", plan, nothing),
        tables.slices("run", plan, ()),
        tables.scaling("run", plan, nothing),
    ):
        names = [column.name for column in table.columns]
        assert len(set(names)) == len(names)
        assert all(name.replace("_", "").isalnum() for name in names)
