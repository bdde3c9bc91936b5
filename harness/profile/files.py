"""The files of a profile: what perf has recorded, as text for each implementation, folded, and as a flame graph."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from harness.analysis import stacks
from harness.analysis.perf_script import Reader
from harness.analysis.profile import Sorter, Turn
from harness.analysis.stacks import Folded
from harness.errors import BadInput
from harness.profile_schema import ImplementationProfile
from harness.report import flamegraph

PERF_DATA = "perf.data"
PERF_TEXT, FOLDED = "{}.perf.txt", "{}.folded"
PAGE = "flamegraph-{}.html"
LARGEST_PAGE_BYTES = 2_000_000
_COARSER = 4.0


def sort_out(lines: Iterable[str], turns: Sequence[Turn], folder: Path) -> tuple[dict[str, Counter[Folded]], int]:
    """Count each sample in its turn, and write those of each implementation's requests to a file of its own.

    Returns the stacks of each implementation, and how many samples could not be read. Raises BadInput when a file
    cannot be written.
    """
    reader, sorter = Reader(), Sorter(turns)
    folded: dict[str, Counter[Folded]] = {turn.impl: Counter() for turn in turns}
    with ExitStack() as stack:
        files = {name: stack.enter_context(_written(folder / PERF_TEXT.format(name))) for name in folded}
        for sample in reader.samples(lines):
            found = sorter.sort(sample)
            if found is not None and found.is_of_requests:
                with _named(folder / PERF_TEXT.format(found.turn.impl)):
                    files[found.turn.impl].write(sample.text)
                folded[found.turn.impl][stacks.fold(sample)] += 1
    return folded, reader.unread


def draw(found: ImplementationProfile, folded: Counter[Folded], title: str, folder: Path) -> None:
    """Write the folded stacks and the flame graph of one implementation. Raises BadInput."""
    with _written(folder / FOLDED.format(found.impl)) as file, _named(folder / FOLDED.format(found.impl)):
        file.writelines(stacks.lines(folded))
    samples, us = folded.total(), found.us_per_request.value
    us_per_sample = us / samples if us is not None and samples else None
    with _written(folder / PAGE.format(found.impl)) as file, _named(folder / PAGE.format(found.impl)):
        file.write(page(title, folded, us_per_sample))


def page(title: str, folded: Counter[Folded], us_per_sample: float | None) -> str:
    """Return a flame graph of LARGEST_PAGE_BYTES at most, with as many thin frames left out as that takes."""
    least_share = stacks.LEAST_SHARE
    while True:
        text = flamegraph.render(title, stacks.tree(folded, "all", least_share), us_per_sample)
        if len(text.encode()) <= LARGEST_PAGE_BYTES:
            return text
        least_share *= _COARSER


@contextmanager
def _written(path: Path) -> Iterator[TextIO]:
    """Open a new file. Raises BadInput when it cannot be made, or cannot be written to its end."""
    with _named(path):
        file = path.open("w", encoding="utf-8", errors="backslashreplace")
    try:
        yield file
    finally:
        with _named(path):
            file.close()


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn the system's refusal into a line that names the file."""
    try:
        yield
    except OSError as error:
        raise BadInput(f"{path}: cannot be written: {error.strerror}") from None
