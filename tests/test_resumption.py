"""A stored run goes on only where its figures would be of the same kind."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from harness import resumption
from harness.environment_schema import Environment
from harness.errors import BadInput
from harness.registry import find
from harness.schema import Plan, PlannedCell, PlannedImplementation
from tests.simulated import planned

RUN = Path("results/run")
CPU = min(os.sched_getaffinity(0))


def plan_of(*implementations: PlannedImplementation) -> Plan:
    made = planned([one.name for one in implementations])
    return msgspec.structs.replace(made, implementations=implementations)


def test_implementations_are_found_again_and_externals_are_started_as_they_were() -> None:
    [own] = find("epoll_raw")
    external = PlannedImplementation(name="mine", argv=("/bin/sh", "-x"))
    elsewhere = PlannedImplementation(name="epoll_raw", argv=("/old/python", "-m", "impls.epoll_raw"))
    found, mine = resumption.implementations(plan_of(elsewhere, external), RUN)
    assert found == own
    assert (mine.name, mine.argv, mine.cwd, mine.external) == ("mine", ("/bin/sh", "-x"), None, True)


def test_a_peer_is_one_again(tool: Callable[[str, str], str]) -> None:
    tool("nginx", "nginx-light")
    peer = PlannedImplementation(name="nginx+lean", argv=("/old/python", "-m", "harness.peers.nginx", "--lean"))
    found = resumption.implementations(plan_of(peer), RUN)
    assert found == find("nginx+lean")
    assert found[0].workloads == ("short", "keepalive")


def test_an_implementation_that_is_gone_is_named() -> None:
    gone = PlannedImplementation(name="gone", argv=(sys.executable, "-m", "impls.gone"))
    with pytest.raises(BadInput, match=r"^--resume results/run: there is no impls.gone in .* any more; begin a new"):
        resumption.implementations(plan_of(gone), RUN)


def test_a_program_that_is_gone_is_named() -> None:
    external = PlannedImplementation(name="mine", argv=("/nosuch/mine",))
    with pytest.raises(BadInput, match=r"^--resume results/run: no program '/nosuch/mine' .* for mine$"):
        resumption.implementations(plan_of(external), RUN)


@pytest.mark.parametrize("name", ["kernel", "cpu_model", "python", "revision"])
def test_another_machine_or_other_code_is_refused(name: str) -> None:
    then, now = (msgspec.structs.replace(Environment(), **{name: text}) for text in ("old", "new"))
    said = {"cpu_model": "cpu model", "revision": "commit"}.get(name, name)
    resumption.check_machine(then, then, RUN)
    resumption.check_machine(Environment(), now, RUN)  # nobody knows what it was
    with pytest.raises(BadInput, match=rf"^--resume results/run: {said} was old and is new; begin"):
        resumption.check_machine(then, now, RUN)


def test_a_testbed_that_lacks_what_it_had_is_refused_whoever_chose_it() -> None:
    made = msgspec.structs.replace(planned(["a"]), testbed_notes=("auto took netns", "no steering"))
    resumption.check_testbed(made, ["no steering"], RUN)
    for notes in ([], ["no steering", "no bridge"]):
        with pytest.raises(BadInput, match=r"^--resume results/run: the testbed is not what it was \(no .*\); begin"):
            resumption.check_testbed(made, notes, RUN)


def test_another_version_is_refused() -> None:
    made = planned(["a", "b"])
    versions = {"a": "impls.a 1.0", "b": "impls.b 1.0"}
    resumption.check_versions(made, RUN, versions)
    said = r"^--resume results/run: b was 'impls.b 1.0' and is 'impls.b 2.0'; begin a new run$"
    with pytest.raises(BadInput, match=said):
        resumption.check_versions(made, RUN, versions | {"b": "impls.b 2.0"})


def test_an_earlier_schema_is_refused() -> None:
    resumption.check_schema(planned(["a"]), RUN)
    with pytest.raises(BadInput, match=r"^--resume results/run: has schema 1, and only schema 2 .*; begin a new run$"):
        resumption.check_schema(msgspec.structs.replace(planned(["a"]), schema=1), RUN)


@pytest.mark.parametrize("side", ["server_cpus", "generator_cpus", "backend_cpus"])
def test_a_cpu_that_may_not_be_used_is_named(side: str) -> None:
    usable = PlannedCell("proxy", 1, 100, server_cpus=(CPU,), generator_cpus=(CPU,), backend_cpus=(CPU,))
    resumption.check_cpus(planned(["a"], usable), RUN)
    missing = msgspec.structs.replace(usable, **{side: (CPU, 8000)})
    with pytest.raises(BadInput, match=r"^--resume results/run: proxy/w1/c100 needs CPU 8000, which .*; begin a new"):
        resumption.check_cpus(planned(["a"], missing), RUN)
