"""The page of a run: what it tells, that it needs nothing else, and that nothing in it is taken for markup."""

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import numpy as np
import pytest

from harness.analysis.latency import LatencyHistogram
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
    plan = planned(names, cell("short"), cell("proxy", backend=[2]))
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


def test_several_runs_need_a_file_and_are_sections_of_one_page(stored: Path, tmp_path: Path) -> None:
    other = write(of_schema_1(), tmp_path / "other")
    assert run("report", stored, other, "--html").is_one_line_of_error
    out = tmp_path / "both.html"
    assert run("report", stored, other, stored, "--html", "--out", out).status == 0
    page = Page(out)
    targets = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    assert {(link["href"] or "")[1:] for link in page.of("a")} <= targets
    assert len([one for one in page.of("section") if one.get("class") == "run"]) == 3
