"""The files of a profile: what perf has recorded, as text for each implementation, folded, and as a flame graph."""

import math
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TextIO

from harness.analysis import stacks
from harness.analysis.perf_script import Reader
from harness.analysis.profile import Sorter, Turn
from harness.analysis.stacks import Folded
from harness.errors import BadInput
from harness.profile import perf
from harness.profile_schema import ImplementationProfile
from harness.report import flamegraph

PERF_DATA = "perf.data"
PERF_TEXT, FOLDED = "{}.perf.txt", "{}.folded"
PAGE = "flamegraph-{}.html"
LARGEST_PAGE_BYTES = 2_000_000
_COARSER = 4.0


@dataclass(frozen=True, slots=True)
class Found:
    """What was recorded, counted."""

    folded: Mapping[str, Counter[Folded]]
    """The stacks of each implementation's requests."""
    unread: int
    """Samples that could not be read."""
    problems: Sequence[str]
    """Files that could not be written, a line each; there is nothing of them."""


def check_room(out: Path, samples: int) -> None:
    """Find out that there is no room for what perf is to record. Raises BadInput."""
    there = next(one for one in (out.absolute(), *out.absolute().parents) if one.exists())
    need, free = samples * perf.BYTES_PER_SAMPLE, shutil.disk_usage(there).free
    if need > free:
        raise BadInput(
            f"--out {out}: has room for {_megabytes(free)} MB, and perf may record {_megabytes(need)} MB; make room, "
            "name another folder, or give a shorter --budget"
        )


def _megabytes(size: int) -> str:
    return f"{math.ceil(size / 10**6):,}"


def read(data: Path, on: Sequence[int], turns: Sequence[Turn], folder: Path) -> Found:
    """Have perf print, on some CPUs, what it has recorded, and sort it out.

    Raises PerfFailed when it cannot print all of it. Then, and after an interrupt, no file is left that is cut off.
    """
    try:
        with perf.text(data, on) as lines:
            return sort_out(lines, turns, folder)
    except BaseException:
        for turn in turns:
            (folder / PERF_TEXT.format(turn.impl)).unlink(missing_ok=True)
        raise


def sort_out(lines: Iterable[str], turns: Sequence[Turn], folder: Path) -> Found:
    """Count each sample in its turn, and write those of each implementation's requests to a file of its own."""
    reader, sorter = Reader(), Sorter(turns)
    folded: dict[str, Counter[Folded]] = {turn.impl: Counter() for turn in turns}
    with ExitStack() as stack:
        files = {name: stack.enter_context(_File(folder / PERF_TEXT.format(name))) for name in folded}
        for sample in reader.samples(lines):
            found = sorter.sort(sample)
            if found is not None and found.is_of_requests:
                files[found.turn.impl].write(stacks.as_text(sample, found.turn.impl, found.turn.pids))
                folded[found.turn.impl][stacks.fold(sample)] += 1
    return Found(folded, reader.unread, [file.problem for file in files.values() if file.problem])


def draw(found: ImplementationProfile, folded: Counter[Folded], title: str, folder: Path) -> list[str]:
    """Write the folded stacks and the flame graph of one implementation; returns a line for what cannot be written."""
    samples, us = folded.total(), found.us_per_request.value
    us_per_sample = us / samples if us is not None and samples else None
    with (
        _File(folder / FOLDED.format(found.impl)) as lines,
        _File(folder / PAGE.format(found.impl)) as graph,
    ):
        lines.write("".join(stacks.lines(folded)))
        graph.write(page(title, folded, us_per_sample))
    return [file.problem for file in (lines, graph) if file.problem]


def page(title: str, folded: Counter[Folded], us_per_sample: float | None) -> str:
    """Return a flame graph of LARGEST_PAGE_BYTES at most, with as many thin frames left out as that takes."""
    least_share = stacks.LEAST_SHARE
    while True:
        text = flamegraph.render(title, stacks.tree(folded, "all", least_share), us_per_sample)
        if len(text.encode()) <= LARGEST_PAGE_BYTES:
            return text
        least_share *= _COARSER


class _File:
    """A new file that is whole in the end, or not there; a context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None
        self.problem = ""
        """Why it cannot be written."""

    def __enter__(self) -> Self:
        with self._tried():
            self._file = self._path.open("w", encoding="utf-8", errors="backslashreplace")
        return self

    def write(self, text: str) -> None:
        """Write on; without effect when that has failed before."""
        if self._file is not None:
            with self._tried():
                self._file.write(text)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._tried():
            if self._file is not None:
                self._file.close()
        if kind is not None:
            self._path.unlink(missing_ok=True)

    @contextmanager
    def _tried(self) -> Iterator[None]:
        """Note the system's refusal, and remove what there is of the file."""
        try:
            yield
        except OSError as error:
            self.problem = f"{self._path}: cannot be written: {error.strerror}"
            file, self._file = self._file, None
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
            with suppress(OSError):
                if file is not None:
                    file.close()
