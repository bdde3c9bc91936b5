"""A run's folder: written as the run goes, so that a crash costs no more than the slice under way; and read again.

plan.json, environment*.json and summary.json are replaced as a whole; slices.jsonl and histograms.hlog grow by
whole lines. Whatever cannot be read or written raises BadInput, one line that names the file.
"""

import errno
import fcntl
import os
import secrets
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Self, TypeVar

import msgspec

from harness import folded, histogram_log, plain_file, strict_json
from harness.analysis.latency import LatencyHistogram
from harness.environment_schema import Environment
from harness.errors import BadInput
from harness.profile_schema import Profile
from harness.schema import SCHEMA, Count, Plan, PlannedCell, Schedule, Slice, Summary

PLAN, ENVIRONMENT, SLICES = "plan.json", "environment.json", "slices.jsonl"
HISTOGRAMS, SUMMARY = "histograms.hlog", "summary.json"
ENVIRONMENT_AFTER = "environment-after.json"
PROFILE = "profile.json"
_OWN = frozenset({PLAN, ENVIRONMENT, ENVIRONMENT_AFTER, SLICES, HISTOGRAMS, SUMMARY, PROFILE})
_OWN_MODE = 0o644
_MOST_LINKS = 40
"""As many as Linux follows (path_resolution(7))."""
_A_LITTLE_BYTES = 65_536
_LARGEST_BYTES = 16 * 2**20
_LONGEST_LINE_BYTES = 4 * 2**20
"""A slice on thousands of CPUs is about a megabyte."""
_ASKED_WITHIN_S = 0.5
"""``is_under_way`` takes microseconds; on a busy machine some more."""
_RIGHT = "it must be as harness compare wrote it"

T = TypeVar("T")


class RunFolder:
    """The folder of a run under way; a context manager that closes its files."""

    def __init__(self, path: Path, plan: Plan) -> None:
        """Open the files, and lock the folder meanwhile. Raises BadInput when a run is under way in it."""
        self.path = path
        self._plan = plan
        self.grew = False
        """Whether a slice was added."""
        self._started_s = time.monotonic()
        self._saved_s = 0.0
        with _named(path / SLICES, "written"):
            self._slices = FileIO(path / SLICES, "ab")
        _lock(self._slices, path)
        for name in (SLICES, HISTOGRAMS):
            _drop_cut_line(path / name)
        with _named(path / HISTOGRAMS, "written"):
            self._histograms = FileIO(path / HISTOGRAMS, "ab")
        self._append(self._histograms, histogram_log.header(time.time()).encode())

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
        folder = cls(path, plan)
        folder.write_plan(plan)
        return folder

    @classmethod
    def reopen(cls, run: "StoredRun") -> Self:
        """Go on with a run: what is stored stays, but for a last line that was cut off."""
        return cls(run.path, run.plan)

    def write_plan(self, plan: Plan) -> None:
        """Replace the plan, such as when conformance is known."""
        self._plan = plan
        _replace(self.path / PLAN, plan)

    def write_schedule(self, group: Iterable[PlannedCell], schedule: Schedule) -> None:
        """Store how the cells of a group are measured."""
        keys = {cell.key for cell in group}
        cells = [
            msgspec.structs.replace(one, schedule=schedule) if one.key in keys else one for one in self._plan.cells
        ]
        self.write_plan(msgspec.structs.replace(self._plan, cells=tuple(cells)))

    def write_environment(self, environment: Environment) -> None:
        """Store what the run is measured on."""
        _replace(self.path / ENVIRONMENT, environment)

    def write_environment_after(self, environment: Environment) -> None:
        """Store what the run was measured on, as it is when nothing is left to measure."""
        _replace(self.path / ENVIRONMENT_AFTER, environment)

    def write_summary(self, summary: Summary) -> None:
        """Store what is claimed of the run."""
        _replace(self.path / SUMMARY, summary)

    def write_profile(self, found: Profile) -> None:
        """Store where the core goes. Raises BadInput."""
        _replace(self.path / PROFILE, found)

    def append_slice(self, piece: Slice) -> None:
        """Store a slice: it is safe from this process's death when this returns. Raises BadInput."""
        self._append(self._slices, msgspec.json.encode(piece) + b"\n")
        if self.is_gone:
            raise BadInput(self.gone)
        self.grew = True

    @property
    def is_gone(self) -> bool:
        """Whether somebody has removed it meanwhile, or the file of the slices in it."""
        return os.fstat(self._slices.fileno()).st_nlink == 0

    @property
    def gone(self) -> str:
        """What to say of that."""
        return f"{self.path}: was removed while the run was under way; what was measured is lost"

    def check_room(self) -> None:
        """Find out whether there is room for a little more. Raises BadInput."""
        with _named(self.path, "written"), tempfile.TemporaryFile(dir=self.path, buffering=0) as file:
            file.write(bytes(_A_LITTLE_BYTES))

    def append_histograms(self, histograms: Mapping[histogram_log.Key, LatencyHistogram]) -> None:
        """Store latencies; those of one key add up when they are read."""
        saved_s = time.monotonic() - self._started_s
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
    environment: Environment
    environment_after: Environment | None
    """None when the run ended before it was written, and in version 1."""
    slices: tuple[Slice, ...]
    histograms: dict[histogram_log.Key, LatencyHistogram]
    summary: Summary | None
    """None when the run ended before it was written."""
    notes: tuple[str, ...]
    """What had to be left out, a line each."""


def load(path: Path) -> StoredRun:
    """Read the folder of a comparison. A last line that was cut off is left out, and a note says so.

    Whatever the files hold, it raises nothing but BadInput, and takes memory in proportion to what it returns.
    """
    plan = load_comparison(path)
    notes: list[str] = []
    known = _Known(plan)
    slices = tuple(stream_slices(path, plan, notes))
    histograms: dict[histogram_log.Key, LatencyHistogram] = {}
    for found in _read_lines(path / HISTOGRAMS, known.histogram, notes):
        if found is not None:
            key, histogram = found
            histograms.setdefault(key, LatencyHistogram()).merge(histogram)
    environment, summary = _read_optional(path / ENVIRONMENT, Environment), _read_optional(path / SUMMARY, Summary)
    return StoredRun(
        path=path,
        plan=plan,
        environment=environment or Environment(),
        environment_after=_read_optional(path / ENVIRONMENT_AFTER, Environment),
        slices=slices,
        histograms=histograms,
        summary=summary,
        notes=tuple(notes),
    )


def load_comparison(path: Path) -> Plan:
    """Read the plan of a comparison. Raises nothing but BadInput, for the folder of a profile as well."""
    plan = load_plan(path)
    if os.path.lexists(path / PROFILE):
        raise BadInput(f"{path}: is of harness profile, and no comparison; harness report prints it")
    if plan.command == "profile":
        raise BadInput(f"{path}: is of a run of harness profile that ended before it had tables; begin a new one")
    return plan


def load_summary(path: Path) -> Summary | None:
    """Read what is claimed of a run; None where it ended before that was written. Raises nothing but BadInput."""
    return _read_optional(path / SUMMARY, Summary)


def load_plan(path: Path) -> Plan:
    """Read the plan of a run. Raises nothing but BadInput."""
    with _named(path, "read"):
        is_folder = path.is_dir()
    if not is_folder:
        raise BadInput(f"{path}: not a folder of results; name the folder of one run, which has a {PLAN} in it")
    return _read_json(path / PLAN, Plan)


def load_environment(path: Path) -> Environment:
    """Read what a run was measured on; one without any entries where its folder has none. Raises BadInput."""
    return _read_optional(path / ENVIRONMENT, Environment) or Environment()


def stream_slices(path: Path, plan: Plan, notes: list[str]) -> Iterator[Slice]:
    """Yield the slices of a run one by one; what had to be left out is added to ``notes``. Raises BadInput."""
    yield from _read_lines(path / SLICES, _Known(plan).slice, notes)


def load_profile(path: Path) -> Profile | None:
    """Read what a profile has found; None where the folder has none. Raises nothing but BadInput."""
    return _read_optional(path / PROFILE, Profile)


def check_idle(path: Path) -> None:
    """Find out that no run is under way in a folder. Raises BadInput."""
    with _named(path / SLICES, "read"), FileIO(path / SLICES, "rb") as file:
        _lock(file, path)


def is_under_way(path: Path) -> bool:
    """Tell whether a run is under way in a folder. Raises BadInput."""
    with _named(path / SLICES, "read"), plain_file.opened(path / SLICES) as file:
        try:
            # Shared, so that those who ask at the same time do not take each other for a run.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _lock(file: FileIO, path: Path) -> None:
    """Take a lock that the kernel gives back when the process ends, however it does (flock(2)).

    Who asks whether a run is under way has it for a moment, so one refusal is not the last word.
    """
    deadline_s = time.monotonic() + _ASKED_WITHIN_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < deadline_s:
                time.sleep(_ASKED_WITHIN_S / 20)
                continue
            file.close()
            raise BadInput(f"{path}: a run is under way in this folder; wait for its end") from None
        return


def _drop_cut_line(path: Path) -> None:
    """Cut off what follows the last whole line, so that the next one begins on a line of its own."""
    with _named(path, "written"):
        if path.exists():
            os.truncate(path, path.read_bytes().rfind(b"\n") + 1)


def write_json(path: Path, value: object) -> None:
    """Write ``value`` so that a reader finds the old file or the whole new one.

    What a link leads to is replaced, and the link is kept. What is no plain file, such as a pipe or a device, is
    appended to, and so is what another program has opened: /dev/stdout.
    """
    write_file(path, _indented(value))


def write_file(path: Path, data: bytes) -> None:
    """Write ``data`` likewise. Raises BadInput."""
    with writing(path) as file:
        file.write(data)


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Open a file that is to be written as ``write_json`` does; after an exception the old one is still there.

    Raises BadInput when it is a run's own, too.
    """
    check_apart(path)
    with _named(path, "written"):
        target = _replaced(path)
        with _replacing(target, _mode(target)) if target else path.open("ab") as file:
            yield file


def check_apart(path: Path) -> None:
    """See that a file that is to be written is none of a run's own, which would be lost. Raises BadInput."""
    target = Path(os.path.realpath(path))
    if (target.name in _OWN or target.suffix == folded.FILE.format("")) and os.path.lexists(target.with_name(PLAN)):
        raise BadInput(f"{path}: is a run's own file, which would be lost; name another")


def _replace(path: Path, value: object) -> None:
    """Write a run's own file. A link is replaced, too: what it leads to is another run's, or nobody's of ours."""
    with _named(path, "written"), _replacing(path, _OWN_MODE) as file:
        file.write(_indented(value))


@contextmanager
def _replacing(path: Path, mode: int | None) -> Iterator[BinaryIO]:
    """Write a file as a whole; ``mode`` None leaves its permissions to the umask. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            if mode is not None:
                os.fchmod(file.fileno(), mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink()
        raise


def as_json(value: object) -> str:
    """Return the text that a file of it has."""
    return _indented(value).decode()


def _indented(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def check_writable(path: Path) -> None:
    """Find out, without changing anything, whether ``write_json`` can write there.

    :raises OSError: when it cannot
    :raises BadInput: when it is a run's own file
    """
    check_apart(path)
    target = _replaced(path)
    if target:
        with tempfile.TemporaryFile(dir=target.absolute().parent):
            return
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def check_folder(out: Path) -> None:
    """Find out, without making anything, whether a run's folder can be made in ``out``. Raises BadInput when not."""
    with _named(out, "made"):
        there = next(path for path in (out, *out.absolute().parents) if os.path.lexists(path))
        if not there.is_dir():
            problem = errno.EEXIST if there == out or not there.exists() else errno.ENOTDIR
            raise OSError(problem, os.strerror(problem))
        if not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _replaced(path: Path) -> Path | None:
    """Return the file that is to be replaced, behind all links; None for what is appended to. Raises OSError."""
    for _ in range(_MOST_LINKS):
        if not path.is_symlink():
            return path if path.is_file() or not path.exists() else None
        if Path("/proc") in Path(os.path.realpath(path.parent)).parents:  # /dev/stdout leads here: proc(5)
            return None
        path = path.parent / path.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _mode(path: Path) -> int | None:
    """Return the permissions of a file, None where there is none."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return None


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
        data = plain_file.read(path, _LARGEST_BYTES)
    try:
        return strict_json.decode(data, msgspec.json.Decoder(kind))
    except ValueError as error:
        raise BadInput(f"{path}: {_too_new(data) or f'{error}; {_RIGHT}'}") from None


def _read_optional(path: Path, kind: type[T]) -> T | None:
    return _read_json(path, kind) if os.path.lexists(path) else None


class _Versioned(msgspec.Struct):
    schema: Count = 1


def _too_new(data: bytes) -> str:
    """Say of a file that cannot be read that a later version wrote it; an empty text when that is not why."""
    try:
        version = strict_json.decode(data, msgspec.json.Decoder(_Versioned)).schema
    except ValueError:
        return ""
    if version <= SCHEMA:
        return ""
    return f"has schema {version}, but this version of percore reads schemas 1 to {SCHEMA}; a later one is needed"


def _read_lines(path: Path, decode: Callable[[bytes], T], notes: list[str]) -> Iterator[T]:
    """Read line by line; one without its end is left out even where it can be read: to go on with a run drops it."""
    with _named(path, "read"):
        for line in plain_file.lines(path, _LONGEST_LINE_BYTES):
            if not line.is_whole:
                notes.append(f"{path}: the last line is cut off and left out")
                return
            try:
                yield decode(line.data)
            except ValueError as error:
                raise BadInput(f"{path}, line {line.number}: {error}; {_RIGHT}") from None


def slice_reader(plan: Plan) -> Callable[[bytes], Slice]:
    """Return what reads a line of slices.jsonl; raises ValueError for what is none, or not of the plan."""
    return _Known(plan).slice


class _Known:
    """Reads lines that are about what a plan has. Each method raises ValueError for any other."""

    def __init__(self, plan: Plan) -> None:
        self._cells = {cell.key for cell in plan.cells}
        self._names = {implementation.name for implementation in plan.implementations}
        self._decoder = msgspec.json.Decoder(Slice)

    def slice(self, line: bytes) -> Slice:
        found = strict_json.decode(line, self._decoder)
        self._check(found.cell, found.impl)
        return found

    def histogram(self, line: bytes) -> tuple[histogram_log.Key, LatencyHistogram] | None:
        found = histogram_log.parse(line.decode())
        if found is not None:
            (cell, name, _), _ = found
            self._check(cell, name)
        return found

    def _check(self, cell: str, name: str) -> None:
        if cell not in self._cells or name not in self._names:
            raise ValueError(f"{cell} of {name} is not in {PLAN}")


@contextmanager
def _named(path: Path, verb: str) -> Iterator[None]:
    """Turn the system's refusal into a line that names the file."""
    try:
        yield
    except OSError as error:
        raise BadInput(f"{path}: cannot be {verb}: {error.strerror}") from None
