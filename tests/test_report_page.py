"""The page of a run: what it tells, that it needs nothing else, and that nothing in it is taken for markup."""

import re
import shlex
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import numpy as np
import pytest

from harness.analysis.latency import LatencyHistogram
from harness.report import again, web_page
from harness.report.plots import drawing, kinds, ratio
from harness.results import RunFolder
from harness.schema import Plan
from tests.commands import run
from tests.run_folders import of_schema_1, write
from tests.simulated import Server, cell, measure, planned

NEVER_CLOSED = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """A page taken apart: its elements with their attributes, its text, and whether all that opens is closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See that it is closed later, where it must be."""
        self.elements.append((tag, dict(attrs)))
        if tag not in NEVER_CLOSED:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what has no content."""
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """See that the innermost is closed."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Keep what people read."""
        if self._open[-1:] not in (["script"], ["style"]):
            self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of all elements with a tag."""
        return [attributes for name, attributes in self.elements if name == tag]


def made(out: Path, plan: Plan, servers: Mapping[str, Server]) -> Path:
    """Store a run with figures enough for claims."""
    slices = measure(plan, servers, rounds=20, noise=0.02)
    slices += [msgspec.structs.replace(one, phase="fixed-rate", rate_rps=500) for one in slices]
    latency_ns = np.random.default_rng(1).lognormal(11, 1, 20_000).astype(np.uint64)
    with RunFolder.create(out, plan) as folder:
        for piece in slices:
            folder.append_slice(piece)
        for cell_key, name in {(piece.cell, piece.impl) for piece in slices}:
            histogram = LatencyHistogram()
            histogram.record(latency_ns)
            folder.append_histograms({(cell_key, name, "latency"): histogram})
    return folder.path


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    names = ["epoll_raw", "uvloop", "trio"]
    plan = planned(names, cell("short"))
    return made(tmp_path, plan, {"epoll_raw": Server(20_000), "uvloop": Server(20_000), "trio": Server(7_000)})


def test_the_page_of_a_run_tells_what_the_text_does_and_loads_nothing(stored: Path) -> None:
    said = run("report", stored, "--html")
    assert (said.status, said.err) == (0, "")
    assert str(stored / "report.html") in said.out
    page = Page(stored / "report.html")
    assert page.of("svg")
    figures = re.findall(r"\d+\.\d{3}", run("report", stored).out)
    assert figures
    assert [figure for figure in figures if figure not in page.text] == []
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    for _, attributes in page.elements:
        for name in ("src", "href", "xlink:href", "action", "data", "srcset"):
            assert (attributes.get(name) or "#").startswith("#")
    assert "default-src 'none'" in str(page.of("meta"))


def test_plots_are_files_of_their_own_that_any_reader_of_xml_takes(stored: Path, tmp_path: Path) -> None:
    assert run("report", stored, "--svg", tmp_path / "svg").status == 0
    files = list((tmp_path / "svg").iterdir())
    assert files
    for file in files:
        root = ET.fromstring(file.read_bytes())  # noqa: S314  it is our own
        assert root.tag.endswith("svg")
        assert "var(" not in file.read_text()


@pytest.fixture
def one_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw a single kind of plot, where that will do."""
    monkeypatch.setattr(kinds, "KINDS", (ratio.plots,))


@pytest.mark.usefixtures("one_kind")
def test_several_runs_need_a_file_and_are_sections_of_one_page(stored: Path, tmp_path: Path) -> None:
    other = write(of_schema_1(), tmp_path / "other")
    assert run("report", stored, other, "--html").is_one_line_of_error
    out = tmp_path / "both.html"
    assert run("report", stored, other, stored, "--html", "--out", out).status == 0
    page = Page(out)
    targets = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    assert {(link["href"] or "")[1:] for link in page.of("a")} <= targets
    assert len([one for one in page.of("section") if one.get("class") == "run"]) == 3


HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "a\"'</script><script>alert(1)</script>&amp;",
    "line\nbreak\u202e\x1b[31m",
    "{{7*7}}{% endfor %}",
    '" fill="#010101" id="clip1',
    "__proto__",
    f"{'x' * 600}1{'x' * 60}",
    f"{'x' * 60}1{'x' * 60}",
    f"{'x' * 60}2{'x' * 60}",
)


def test_what_an_implementation_is_called_stays_text_in_page_and_plots(tmp_path: Path) -> None:
    plan = planned(HOSTILE, cell("short"))
    run_folder = made(tmp_path / "run", plan, {name: Server(20_000 - 1000 * i) for i, name in enumerate(HOSTILE)})
    assert run("report", run_folder, "--html", "--svg", tmp_path / "svg").status == 0
    page = Page(run_folder / "report.html")
    assert len(page.of("script")) == 1
    assert not page.of("img")
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert HOSTILE[0] in page.text
    assert "line\\nbreak\\u202e\\x1b[31m" in page.text
    assert all(char == "\n" or char.isprintable() for char in page.source)
    rows: list[str] = []
    for file in (tmp_path / "svg").iterdir():
        root = ET.fromstring(file.read_bytes())  # noqa: S314  it is our own
        assert not [one for one in root.iter() if one.tag.endswith(("script", "img", "a"))]
        if file.stem.endswith("ratio"):
            dots = [one.attrib for one in root.iter() if "aria-label" in one.attrib]
            rows = [dot["transform"].partition(",")[2] for dot in dots]
    assert len(rows) == len(set(rows)) == len(HOSTILE)


def test_ids_in_a_drawing_are_its_own_whatever_was_drawn_before() -> None:
    drawn = '<svg width="1" height="1"><g clip-path="url(#clip{0})"/><clipPath id="clip{0}"/></svg>'
    first, other = (drawing.for_page(drawn.format(7), {}, name) for name in ("first", "other"))
    assert first == drawing.for_page(drawn.format(9), {}, "first")
    assert re.findall(r'clipPath id="([^"]*)"', first) != re.findall(r'clipPath id="([^"]*)"', other)
    assert re.findall(r"url\(#([^)]*)\)", first) == re.findall(r'clipPath id="([^"]*)"', first)


@pytest.mark.usefixtures("one_kind")
def test_the_same_run_gives_the_same_page(stored: Path, tmp_path: Path) -> None:
    for name in ("one", "other"):
        assert run("report", stored, "--html", "--out", tmp_path / name).status == 0
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


@pytest.mark.usefixtures("one_kind")
def test_a_page_that_would_be_too_large_leaves_out_plots_and_says_so(
    stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("report", stored, "--html")
    whole = Page(stored / "report.html")
    assert "verdict             " in whole.text
    monkeypatch.setattr(web_page, "MOST_BYTES", 1000)
    run("report", stored, "--html")
    page = Page(stored / "report.html")
    assert len(page.of("figure")) == 0 < len(whole.of("figure"))
    assert f"{len(whole.of('figure'))} plots are left out" in page.text
    assert "harness explain" in page.text
    figures = re.findall(r"\d+\.\d{3}", run("report", stored).out)
    assert [figure for figure in figures if figure not in page.text] == []


@pytest.mark.usefixtures("one_kind")
def test_an_implementation_has_the_same_colour_in_every_run_of_a_page(stored: Path, tmp_path: Path) -> None:
    plan = planned(["trio", "epoll_raw"], cell("short"))
    other = made(tmp_path, plan, {"trio": Server(7_000), "epoll_raw": Server(20_000)})
    run("report", stored, other, "--html", "--out", tmp_path / "both.html")
    dots = re.findall(r'aria-label="trio: [0-9.]+ \([^"]*".*? fill="(var[^"]*)"', (tmp_path / "both.html").read_text())
    reference = re.findall(r'aria-label="trio: reference".*? fill="(var[^"]*)"', (tmp_path / "both.html").read_text())
    assert dots
    assert reference
    assert {*dots, *reference} == {dots[0]}


@pytest.mark.usefixtures("one_kind")
def test_a_tie_is_hollow_and_what_is_not_ranked_by_throughput_shows_cpu(tmp_path: Path) -> None:
    plan = planned(["epoll_raw", "uvloop", "trio"], cell("short"))
    same = Server(20_000, generator_busy=0.99)
    run_folder = made(tmp_path, plan, {"epoll_raw": same, "uvloop": same, "trio": Server(7_000)})
    run("report", run_folder, "--html")
    source = (run_folder / "report.html").read_text()
    assert "CPU per request at 500 requests/s, ratio to epoll_raw" in source
    assert "Requests/s, ratio to" not in source
    [tie] = re.findall(r'aria-label="uvloop: [^"]*, a tie"[^>]* fill="([^"]*)"', source)
    assert tie == "var(--page)"


def test_a_run_without_figures_has_a_page_that_says_so(tmp_path: Path) -> None:
    nothing = made(tmp_path, planned(["epoll_raw", "trio"], cell("short")), {})
    assert run("report", nothing, "--html").status == 0
    page = Page(nothing / "report.html")
    assert "nothing can be claimed" in page.text
    assert "The run ended before its plan was done" in page.text
    assert not page.of("svg")


@pytest.mark.usefixtures("one_kind")
def test_a_page_that_cannot_be_written_is_one_line_and_the_old_one_is_kept(stored: Path, tmp_path: Path) -> None:
    assert run("report", stored, "--html", "--out", "/dev/full").is_one_line_of_error
    assert run("report", stored, "--html", "--out", tmp_path / "missing" / "page.html").is_one_line_of_error
    (tmp_path / "file").write_text("old")
    assert run("report", stored, "--svg", tmp_path / "file").is_one_line_of_error
    assert (tmp_path / "file").read_text() == "old"
    assert run("report", stored, "--out", tmp_path / "file").is_one_line_of_error
    assert run("report", tmp_path, "--html").is_one_line_of_error


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "harness compare --impls epoll_raw,trio --reference epoll_raw --workloads short --workers 1"),
        ({"precision": 0.02, "client": "wrk", "rfs": True}, "--rfs --client wrk --precision 2% --budget 10s"),
        ({"interleaved": True}, "harness scale "),
    ],
)
def test_the_command_that_runs_it_again(options: Mapping[str, object], said: str) -> None:
    plan = msgspec.structs.replace(planned(["epoll_raw", "trio"], cell("short")), **options)
    assert said in again.command(plan).command


def test_the_command_that_runs_it_again_quotes_what_a_shell_would_take_apart() -> None:
    plan = planned(["epoll_raw", "mine"], cell("short"))
    mine = msgspec.structs.replace(plan.implementations[1], argv=("./my server", "--x", "$(reboot)"))
    plan = msgspec.structs.replace(plan, implementations=(plan.implementations[0], mine))
    words = shlex.split(again.command(plan).command)
    assert words[words.index("--impls") + 1] == "epoll_raw"
    assert shlex.split(words[words.index("--external") + 1].partition("=")[2]) == ["./my server", "--x", "$(reboot)"]
