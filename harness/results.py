"""A run's folder: written as the run goes, so that a crash costs no more than the slice under way; and read again.

plan.json, environment.json and summary.json are replaced as a whole; slices.jsonl and histograms.hlog grow by
whole lines. Whatever cannot be read or written raises BadInput, one line that names the file.
"""

import errno
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Self, TypeVar

import msgspec

from harness import histogram_log
from harness.analysis.latency import LatencyHistogram
from harness.errors import BadInput
from harness.schema import Plan, Slice, Summary

PLAN, ENVIRONMENT, SLICES = "plan.json", "environment.json", "slices.jsonl"
HISTOGRAMS, SUMMARY = "histograms.hlog", "summary.json"

T = TypeVar("T")


class RunFolder:
    """The folder of a run under way; a context manager that closes its files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._started_s = time.time()
        self._saved_s = 0.0
        with _named(path / SLICES, "written"):
            self._slices = FileIO(path / SLICES, "ab")
        with _named(path / HISTOGRAMS, "written"):
            self._histograms = FileIO(path / HISTOGRAMS, "ab")
        self._append(self._histograms, histogram_log.header(self._started_s).encode())

    @classmethod
    def create(cls, out: Path, plan: Plan) -> Self:
        """Make a folder in ``out`` that no other run has, named by time (UTC) and seed, with the plan in it."""
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{plan.seed}"
        with _named(out, "made"):
            out.mkdir(parents=True, exist_ok=True)
        path, tries = out / name, 1
        while not _made(path):
            tries += 1
            path = out / f"{name}-{tries}"
        folder = cls(path)
        folder.write_plan(plan)
        return folder

    def write_plan(self, plan: Plan) -> None:
        """Replace the plan, such as when conformance is known."""
        write_json(self.path / PLAN, plan)

    def write_environment(self, environment: Mapping[str, object]) -> None:
        """Store what the run is measured on."""
        write_json(self.path / ENVIRONMENT, environment)

    def append_slice(self, piece: Slice) -> None:
        """Store a slice: it is safe from this process's death when this returns."""
        self._append(self._slices, msgspec.json.encode(piece) + b"\n")

    def append_histograms(self, histograms: Mapping[tuple[str, str], LatencyHistogram]) -> None:
        """Store latencies by cell key and implementation; those of one key add up when they are read."""
        saved_s = time.time() - self._started_s
        self._append(self._histograms, histogram_log.lines(histograms, self._saved_s, saved_s).encode())
        self._saved_s = saved_s

    def close(self) -> None:
        """Close the files; harmless when they are closed."""
        self._slices.close()
        self._histograms.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(self, file: FileIO, data: bytes) -> None:
        rest = memoryview(data)
        with _named(Path(str(file.name)), "written"):
            while rest:  # unbuffered, so that nothing is left to be written where the disk is full
                rest = rest[file.write(rest) :]


class StoredRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run as its folder has it."""

    path: Path
    plan: Plan
    environment: dict[str, object]
    slices: tuple[Slice, ...]
    histograms: dict[tuple[str, str], LatencyHistogram]
    summary: Summary | None
    """None when the run ended before it was written."""
    notes: tuple[str, ...]
    """What had to be left out, a line each."""


def load(path: Path) -> StoredRun:
    """Read a run's folder. A last line that was cut off is left out, and a note says so."""
    if not path.is_dir():
        raise BadInput(f"{path}: not a folder of results")
    plan = _read_json(path / PLAN, Plan)
    notes: list[str] = []
    slices = tuple(_read_lines(path / SLICES, msgspec.json.Decoder(Slice).decode, notes))
    _check_known(path / SLICES, plan, slices)
    histograms: dict[tuple[str, str], LatencyHistogram] = {}
    for found in _read_lines(path / HISTOGRAMS, histogram_log.parse, notes):
        if found is not None:
            cell, impl, histogram = found
            histograms.setdefault((cell, impl), LatencyHistogram()).merge(histogram)
    environment, summary = path / ENVIRONMENT, path / SUMMARY
    return StoredRun(
        path=path,
        plan=plan,
        environment=_read_json(environment, dict[str, object]) if environment.exists() else {},
        slices=slices,
        histograms=histograms,
        summary=_read_json(summary, Summary) if summary.exists() else None,
        notes=tuple(notes),
    )


def write_json(path: Path, value: object) -> None:
    """Write ``value`` so that a reader finds the old file or the whole new one.

    What is there and no plain file is appended to, not replaced: a pipe, a device, or a link such as /dev/stdout.
    """
    data = msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
    with _named(path, "written"):
        if not _is_replaced(path):
            with path.open("ab") as file:
                file.write(data)
            return
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                os.fchmod(file.fileno(), 0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink()
            raise


def check_writable(path: Path) -> None:
    """Find out, without changing anything, whether ``write_json`` can write there. Raises OSError."""
    if _is_replaced(path):
        with tempfile.TemporaryFile(dir=path.absolute().parent):
            return
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _is_replaced(path: Path) -> bool:
    return not path.is_symlink() and (path.is_file() or not path.exists())


def _made(path: Path) -> bool:
    """Make a folder, or return False when another run was faster."""
    with _named(path, "made"):
        try:
            path.mkdir()
        except FileExistsError:
            return False
    return True


def _read_json(path: Path, kind: type[T]) -> T:
    with _named(path, "read"):
        data = path.read_bytes()
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: {error}") from None


def _read_lines(path: Path, decode: Callable[[str], T], notes: list[str]) -> Iterator[T]:
    with _named(path, "read"):
        data = path.read_bytes()
    lines = data.split(b"\n")
    for number, line in enumerate(lines, 1):
        is_cut_off = number == len(lines)
        if is_cut_off and not line:
            return
        try:
            yield decode(line.decode())
        except (msgspec.DecodeError, ValueError) as error:
            if not is_cut_off:
                raise BadInput(f"{path}, line {number}: {error}") from None
            notes.append(f"{path}: the last line is cut off and left out")


def _check_known(path: Path, plan: Plan, slices: tuple[Slice, ...]) -> None:
    cells = {cell.key for cell in plan.cells}
    names = {impl.name for impl in plan.implementations}
    for number, piece in enumerate(slices, 1):
        if piece.cell not in cells or piece.impl not in names:
            raise BadInput(f"{path}, line {number}: {piece.cell} of {piece.impl} is not in {PLAN}")


@contextmanager
def _named(path: Path, verb: str) -> Iterator[None]:
    """Turn the system's refusal into a line that names the file."""
    try:
        yield
    except OSError as error:
        raise BadInput(f"{path}: cannot be {verb}: {error.strerror}") from None
