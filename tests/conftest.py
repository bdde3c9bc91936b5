"""What tests share: one run per implementation, programs that may be absent, and no process left behind."""

import math
import os
import shutil
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from harness import processes
from harness.analysis import verdicts
from harness.conformance import Checker
from harness.errors import BadInput
from harness.plan import REFERENCE
from harness.registry import Implementation, find, own

LEAN = f"{REFERENCE}+lean"
_MARK = "PERCORE_TEST_SESSION"
"""An environment variable that every process inherits that a test starts, however indirectly."""
_END_WITHIN_S = 3.0

# As Hypothesis has it: the same examples each time where CI is set, and new ones elsewhere. But there is no limit on
# the time that they take, which a busy machine would exceed.
settings.register_profile("percore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("percore")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--impl", action="append", metavar="NAME", help="only this implementation, in every test that takes one"
    )


def pytest_configure() -> None:
    os.environ[_MARK] = uuid.uuid4().hex
    # Containers often set it; thousands of servers are started here, and each would compile itself once more.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.hookimpl(trylast=True)  # after the marks, so that a test's id ends with the implementation
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that takes ``impl`` once for each implementation."""
    if "impl" not in metafunc.fixturenames:
        return
    names = metafunc.config.getoption("impl")
    try:
        chosen = find(",".join(names)) if names else own()
    except BadInput as error:
        raise pytest.UsageError(str(error)) from None
    modes = metafunc.definition.get_closest_marker("modes")
    if modes is None:
        metafunc.parametrize("impl", chosen, ids=[implementation.name for implementation in chosen])
        return
    # All ways of working where each has code of its own; of the others those that are not the same code once more.
    if REFERENCE in {one.name for one in chosen}:
        chosen += find(LEAN)
    of = {REFERENCE: modes.args, LEAN: modes.kwargs["lean"]}
    pairs = [(mode, one) for one in chosen for mode in of.get(one.name, modes.kwargs["others"])]
    metafunc.parametrize(("mode", "impl"), pairs, ids=[f"{mode}-{one.name}" for mode, one in pairs])


@pytest.fixture
def reference() -> Implementation:
    """Return the one implementation on which is tried what is the same code in all."""
    [found] = find(REFERENCE)
    return found


@pytest.fixture(scope="session", autouse=True)
def _nothing_survives() -> Iterator[None]:
    """Fail when a process that a test started is still there in the end, and end it."""
    yield
    if processes.wait_until(lambda: not _started_here(), _END_WITHIN_S):
        return
    survivors = _started_here()
    for pid in survivors:
        os.kill(pid, signal.SIGKILL)
    pytest.fail("processes survived the tests: " + ", ".join(f"{pid} ({line})" for pid, line in survivors.items()))


def _started_here() -> dict[int, str]:
    """Find the processes of this session by their environment, and tell their command lines."""
    mark = f"{_MARK}={os.environ[_MARK]}".encode()
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it has ended, or it is another user's
    return found


@pytest.fixture(scope="session")
def checkers(
    tmp_path_factory: pytest.TempPathFactory,
    _nothing_survives: None,  # which therefore looks when these have ended
) -> Iterator[Callable[[Implementation], Checker]]:
    """Give each implementation one checker for the whole session, so that cases share servers."""
    directory = tmp_path_factory.mktemp("conformance")
    made: dict[str, Checker] = {}
    with ExitStack() as stack:

        def checker(implementation: Implementation) -> Checker:
            if implementation.name not in made:
                made[implementation.name] = stack.enter_context(Checker(implementation, directory))
            return made[implementation.name]

        yield checker


@pytest.fixture
def drops_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take nothing for a want of backlog: on loopback the kernel counts all sockets, and other tests fill queues."""
    monkeypatch.setattr(verdicts, "MOST_DROPS_SHARE", math.inf)


@pytest.fixture(scope="session")
def tool() -> Callable[[str, str], str]:
    """Find a program, or skip the test by its name; in CI, where it must be installed, fail."""

    def find_program(name: str, package: str) -> str:
        path = shutil.which(name)
        if path is not None:
            return path
        advice = f"{name} is not installed (Debian: apt-get install {package})"
        if os.environ.get("CI"):
            pytest.fail(advice)
        pytest.skip(advice)

    return find_program
