"""What was measured must outlive a crash, and bad files must be named."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import histogram_log, results
from harness.analysis.comparison import compare
from harness.analysis.latency import DIGITS, KINDS, LONGEST_NS, WHOLE, Kind, LatencyHistogram
from harness.environment_schema import Environment
from harness.errors import BadInput
from harness.results import RunFolder, load
from harness.schema import Plan
from tests.simulated import Server, latencies, measure, planned

PLAN = planned(["fast", "slow"])
SLICES = measure(PLAN, {"fast": Server(15_000), "slow": Server(12_000)}, rounds=4)


def stored(out: Path, plan: Plan = PLAN) -> Path:
    with RunFolder.create(out, plan) as folder:
        folder.write_environment(Environment(kernel="6.1", cpus_allowed=(0, 1)))
        for piece in SLICES:
            folder.append_slice(piece)
        folder.append_histograms(latencies(plan, {"fast": 5_000, "slow": 7_000}))
        folder.write_summary(compare(plan, SLICES, {}))
        return folder.path


def test_reads_back_what_was_written(tmp_path: Path) -> None:
    run = load(stored(tmp_path / "new" / "results"))
    assert run.plan == PLAN
    assert run.environment == Environment(kernel="6.1", cpus_allowed=(0, 1))
    assert list(run.slices) == SLICES
    assert run.summary == compare(PLAN, SLICES, {})
    assert run.notes == ()
    expected = latencies(PLAN, {"fast": 5_000, "slow": 7_000})
    assert run.histograms.keys() == expected.keys()
    for key, histogram in expected.items():
        assert run.histograms[key].percentiles_us() == histogram.percentiles_us()


def test_a_folder_is_named_by_time_and_seed(tmp_path: Path) -> None:
    assert stored(tmp_path).name.endswith("Z-7")


def test_runs_at_the_same_moment_get_folders_of_their_own(tmp_path: Path) -> None:
    def create(_: int) -> Path:
        with RunFolder.create(tmp_path, PLAN) as folder:
            return folder.path

    with ThreadPoolExecutor(16) as pool:
        paths = list(pool.map(create, range(64)))
    assert len(set(paths)) == 64
    assert all(load(path).plan == PLAN for path in paths)


def test_a_slice_is_on_the_disk_when_append_returns(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, PLAN) as folder:
        for count, piece in enumerate(SLICES, 1):
            folder.append_slice(piece)
            assert list(load(folder.path).slices) == SLICES[:count]


def test_a_run_without_an_end_is_readable(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, PLAN) as folder:
        run = load(folder.path)
    assert (run.summary, run.slices, run.histograms, run.environment_after) == (None, (), {}, None)
    assert run.environment == Environment()


@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_a_file_that_was_cut_anywhere_keeps_its_whole_lines(tmp_path: Path, data: st.DataObject) -> None:
    path = stored(tmp_path)
    name = data.draw(st.sampled_from([results.SLICES, results.HISTOGRAMS]))
    whole = (path / name).read_bytes()
    kept = whole[: data.draw(st.integers(min_value=0, max_value=len(whole)))]
    (path / name).write_bytes(kept)
    run = load(path)
    if name == results.SLICES:
        assert list(run.slices)[: kept.count(b"\n")] == SLICES[: kept.count(b"\n")]
        is_cut = len(run.slices) == kept.count(b"\n") and not kept.endswith(b"\n") and kept != b""
        assert run.notes == ((f"{path / name}: the last line is cut off and left out",) if is_cut else ())
    else:
        assert len(run.histograms) >= kept.count(b"\nTag=") - 1


def test_intervals_of_a_histogram_add_up(tmp_path: Path) -> None:
    key: histogram_log.Key = (PLAN.cells[0].key, "fast", WHOLE)
    with RunFolder.create(tmp_path, PLAN) as folder:
        for values in ([1000, 2000], [3000]):
            histogram = LatencyHistogram()
            histogram.record(np.array(values, dtype=np.uint64))
            folder.append_histograms({key: histogram})
    run = load(folder.path)
    assert run.histograms[key].total == 3


def test_lines_that_were_cut_off_do_not_spoil_what_follows(tmp_path: Path) -> None:
    path = stored(tmp_path)
    before = load(path)
    for name in (results.SLICES, results.HISTOGRAMS):
        whole = (path / name).read_bytes()
        (path / name).write_bytes(whole + whole[whole.rstrip(b"\n").rfind(b"\n") + 1 : -9])
    assert len(load(path).notes) == 2
    with RunFolder.reopen(load(path)) as folder:
        folder.append_slice(before.slices[0])
    after = load(path)
    assert after.notes == ()
    assert after.slices == (*before.slices, before.slices[0])
    assert {key: one.total for key, one in after.histograms.items()} == {
        key: one.total for key, one in before.histograms.items()
    }


def test_a_run_that_is_under_way_is_not_gone_on_with(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, PLAN) as folder, pytest.raises(BadInput, match="a run is under way in this folder"):
        RunFolder.reopen(load(folder.path))


def test_the_log_is_readable_for_others(tmp_path: Path) -> None:
    path = stored(tmp_path) / results.HISTOGRAMS
    reader = HistogramLogReader(str(path), HdrHistogram(1, LONGEST_NS, DIGITS))
    found = {}
    while (histogram := reader.get_next_interval_histogram()) is not None:
        found[histogram.get_tag()] = histogram
    reader.input_file.close()
    assert found.keys() == {"short/w1/c100/fast", "short/w1/c100/slow"}
    expected = latencies(PLAN, {"fast": 5_000, "slow": 7_000})
    for impl in ("fast", "slow"):
        theirs, ours = found[f"short/w1/c100/{impl}"], expected["short/w1/c100", impl, WHOLE]
        assert (theirs.get_total_count(), theirs.get_max_value()) == (ours.total, ours.max_ns)


@given(impl=st.text(st.characters(codec="utf-8"), min_size=1), kind=st.sampled_from(KINDS))
@settings(max_examples=30)
def test_any_name_survives_as_a_tag(impl: str, kind: Kind) -> None:
    histogram = LatencyHistogram()
    histogram.record(np.array([5], dtype=np.uint64))
    line = histogram_log.lines({("short/w1/c100/idle8/r9", impl, kind): histogram}, 0.0, 1.0)
    found = histogram_log.parse(line.removesuffix("\n"))
    assert found is not None
    assert found[0] == ("short/w1/c100/idle8/r9", impl, kind)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (results.PLAN, b"", "plan.json: Input data was truncated"),
        (results.PLAN, b"{}", "plan.json: Object missing required field"),
        (results.PLAN, b"\xff\xfe", "plan.json"),
        (results.SLICES, b"{}\n", "slices.jsonl, line 1: Object missing required field"),
        (results.SLICES, b"\xff\n", "slices.jsonl, line 1"),
        (results.HISTOGRAMS, b"Tag=short/w1/c100/fast,0,1,2,HISTrubbish\n", "histograms.hlog, line 1"),
        (results.HISTOGRAMS, b"rubbish\n", "histograms.hlog, line 1: not a line"),
        (results.SUMMARY, b"[]", "summary.json: Expected `object`"),
        (results.SUMMARY, b'{"schema":3,"reference":"a","cells":[]}', "summary.json: has schema 3, but this version"),
        (results.PLAN, b'{"schema":3}', "plan.json: has schema 3, but this version of percore reads schemas 1 to 2"),
        (results.ENVIRONMENT_AFTER, b'{"kernel":3}', "environment-after.json: Expected `str | null`"),
        (results.ENVIRONMENT, b"3", "environment.json: Expected `object`"),
    ],
)
def test_a_bad_file_is_named_in_one_line(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    path = stored(tmp_path)
    (path / name).write_bytes(content)
    with pytest.raises(BadInput) as caught:
        load(path)
    assert str(caught.value).startswith(str(path))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_slice_of_something_unplanned_is_named(tmp_path: Path) -> None:
    path = stored(tmp_path)
    stranger = msgspec.structs.replace(SLICES[0], impl="stranger")
    with (path / results.SLICES).open("ab") as file:
        file.write(msgspec.json.encode(stranger) + b"\n")
    with pytest.raises(BadInput, match=r"line 9: short/w1/c100 of stranger is not in plan\.json"):
        load(path)


@pytest.mark.parametrize("tag", ["short/w9/c777/epoll_raw", "short/w1/c100/stranger"])
def test_times_of_something_unplanned_are_named(tmp_path: Path, tag: str) -> None:
    path = stored(tmp_path)
    log = path / results.HISTOGRAMS
    log.write_text(re.sub(r"Tag=[^,]*", f"Tag={tag}", log.read_text()))
    with pytest.raises(BadInput, match=rf"histograms\.hlog, line \d: {tag.rpartition('/')[0]} of .* is not in plan"):
        load(path)


def test_a_missing_folder_or_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nowhere: not a folder of results"):
        load(tmp_path / "nowhere")
    with pytest.raises(BadInput, match=r"plan\.json: cannot be read: No such file"):
        load(tmp_path)


def test_an_out_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadInput, match="file: cannot be made"):
        RunFolder.create(tmp_path / "file", PLAN)


def test_a_json_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "summary.json"
    results.write_json(target, {"a": 1})
    before = target.stat().st_ino
    results.write_json(target, {"a": 2})
    assert msgspec.json.decode(target.read_bytes()) == {"a": 2}
    assert target.stat().st_ino != before
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(TypeError):
        results.write_json(target, object())
    assert msgspec.json.decode(target.read_bytes()) == {"a": 2}


def test_a_pipe_is_written_to_and_what_a_link_leads_to_is_replaced(tmp_path: Path) -> None:
    pipe, target = tmp_path / "pipe", tmp_path / "target"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    results.write_json(pipe, {"a": 1})
    assert msgspec.json.decode(os.read(reader, 1000)) == {"a": 1}
    os.close(reader)
    assert pipe.is_fifo()
    (tmp_path / "link").symlink_to("other")
    (tmp_path / "other").symlink_to(target)
    for number in (2, 3):
        results.write_json(tmp_path / "link", {"a": number})
        assert msgspec.json.decode(target.read_bytes()) == {"a": number}
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "other").is_symlink()
    with pytest.raises(TypeError), results.writing(tmp_path / "link") as file:
        file.writelines([b"half", None])  # type: ignore[list-item]  # what goes wrong in the middle
    assert msgspec.json.decode(target.read_bytes()) == {"a": 3}


def test_what_another_program_has_opened_is_added_to(tmp_path: Path) -> None:
    with (tmp_path / "x").open("ab") as file:
        file.write(b"before\n")
        file.flush()
        results.write_file(Path(f"/proc/self/fd/{file.fileno()}"), b"after")
    assert (tmp_path / "x").read_bytes() == b"before\nafter"


def test_links_in_a_circle_are_named(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(BadInput, match="/a: cannot be written: Too many levels of symbolic links"):
        results.write_file(tmp_path / "a", b"")


def test_permissions_are_those_of_the_old_file_or_what_the_umask_leaves(tmp_path: Path) -> None:
    target = tmp_path / "x"
    before = os.umask(0o027)
    try:
        results.write_file(target, b"")
        assert target.stat().st_mode & 0o777 == 0o640
        target.chmod(0o604)
        results.write_file(target, b"")
    finally:
        os.umask(before)
    assert target.stat().st_mode & 0o777 == 0o604


def test_a_plan_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="reference 'x' is not among"):
        msgspec.structs.replace(PLAN, reference="x")
    with pytest.raises(ValueError, match="same name"):
        planned(["a", "a"])
