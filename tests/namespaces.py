"""Testbeds of network namespaces for tests, or why a test is skipped."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from harness.errors import BadInput
from harness.schema import PlannedCell
from harness.testbed import Testbed as Hosts  # pytest takes what is called Test… for a test
from harness.testbed import open_testbed

CPUS = tuple(sorted(os.sched_getaffinity(0))[:2])


def opened(stack: ExitStack, *, rfs: bool = False) -> Hosts:
    """Open a testbed until the stack ends, or skip the test; in CI, where namespaces must be possible, fail."""
    try:
        return stack.enter_context(open_testbed("netns", with_backend=True, rfs=rfs))
    except BadInput as problem:
        if os.environ.get("CI") and not str(problem).startswith("--rfs"):
            pytest.fail(str(problem))
        pytest.skip(str(problem))


def skip_without_steering(testbed: Hosts) -> None:
    """Skip the test where packets cannot be steered, in CI as elsewhere: a container's /sys may be read-only."""
    for note in testbed.notes:
        if note.startswith("no receive steering"):
            pytest.skip(note)


@contextmanager
def steered(*, rfs: bool = False) -> Iterator[Hosts]:
    """Open a testbed that steers the server's packets to CPUS, of which there are two, or skip the test."""
    if len(CPUS) < 2:
        pytest.skip("it takes two CPUs")
    with ExitStack() as stack:
        testbed = opened(stack, rfs=rfs)
        skip_without_steering(testbed)
        try:
            testbed.steer(PlannedCell("proxy", 2, 9, server_cpus=CPUS, generator_cpus=CPUS[1:], backend_cpus=CPUS[1:]))
        except BadInput as problem:
            pytest.skip(str(problem))
        yield testbed
