"""What a run was measured on: read from this machine, and compared in words."""

from pathlib import Path

import msgspec
import pytest

from harness import environment
from harness.analysis.environment import changes, differences
from harness.environment_schema import Environment
from harness.report import environment as environment_report
from harness.results import RunFolder, load
from tests.commands import run
from tests.simulated import planned

BEFORE = Environment(
    schema=2,
    kernel="6.18.44",
    kernel_options={"mitigations": "auto"},
    vulnerabilities={"spectre_v2": "Mitigation: Retpolines"},
    cpus_allowed=(0, 1),
    governor="performance",
    turbo=True,
    sysctls={"net.core.somaxconn": "4096", "net.ipv4.tcp_tw_reuse": None},
    libraries={"trio": "0.35.0", "uvloop": None},
    revision="c27d93132715",
    dirty=False,
    load_average=(0.5, 0.5, 0.5),
    cpu_time_ns=100_000_000_000,
    cpu_steal_ns=1_000_000_000,
)


def after(**changed: object) -> Environment:
    return msgspec.structs.replace(BEFORE, **changed)


def test_this_machine_is_described() -> None:
    found = environment.describe()
    assert found.schema == 2
    assert found.kernel == Path("/proc/sys/kernel/osrelease").read_text().strip()
    assert found.cpus_allowed
    assert found.sysctls["net.core.somaxconn"] == Path("/proc/sys/net/core/somaxconn").read_text().strip()
    assert {"trio", "uvloop", "gevent", "numpy"} <= found.libraries.keys()
    assert found.cpu_time_ns is not None
    assert found.cpu_steal_ns is not None
    assert found.cpu_steal_ns < found.cpu_time_ns


def test_of_the_kernel_command_line_only_what_bears_on_speed_is_stored() -> None:
    line = "root=/dev/sda1 secret=1 mitigations=off isolcpus=2,3 nosmt quiet"
    assert environment.kernel_options(line) == {"mitigations": "off", "isolcpus": "2,3", "nosmt": ""}


def test_governors_are_summarised() -> None:
    assert environment.summarise({}) is None
    assert environment.summarise({0: "performance", 1: "performance"}) == "performance"
    mixed = {10: "powersave", 0: "performance", 1: "performance", 2: "performance", 4: "performance", 3: "powersave"}
    assert environment.summarise(mixed) == "performance (CPU 0-2,4), powersave (CPU 3,10)"


def test_what_always_moves_is_no_change() -> None:
    moved = after(
        time_utc="later", load_average=(2.9, 1.0, 0.7), cpu_time_ns=200_000_000_000, cpu_steal_ns=1_900_000_000
    )
    assert changes(BEFORE, BEFORE) == ()
    assert changes(BEFORE, moved) == ()


def test_what_changed_during_a_run_is_named() -> None:
    changed = after(
        governor="powersave",
        turbo=False,
        sysctls={"net.core.somaxconn": "128", "net.ipv4.tcp_tw_reuse": "2"},
        load_average=(3.6, 1.0, 0.7),
        cpu_time_ns=200_000_000_000,
        cpu_steal_ns=4_200_000_000,
    )
    assert changes(BEFORE, changed) == (
        "governor: performance before, powersave after",
        "turbo: on before, off after",
        "net.core.somaxconn: 4096 before, 128 after",
        "load average: 0.5 before, 3.6 after, which is more than the run makes on its CPUs",
        "steal: the host gave 3.2 % of the CPU time during the run to others",
    )


def test_what_two_runs_were_measured_on_differently_is_named() -> None:
    later = after(
        kernel="6.19.0",
        kernel_options={},
        vulnerabilities={"spectre_v2": "Vulnerable"},
        libraries={"trio": "0.36.0", "uvloop": "0.23.0"},
        dirty=True,
    )
    assert differences(BEFORE, later) == (
        "kernel: 6.18.44 then, 6.19.0 now",
        "revision: c27d93132715 then, c27d93132715+ now",
        "kernel options: mitigations=auto then, default now",
        "mitigation of spectre_v2: Mitigation: Retpolines then, Vulnerable now",
        "trio: 0.35.0 then, 0.36.0 now",
        "uvloop: not installed then, 0.23.0 now",
    )


def test_what_version_1_did_not_tell_is_no_difference() -> None:
    assert differences(Environment(kernel="6.18.44"), BEFORE) == ()


def test_both_are_stored(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, planned(["a"])) as folder:
        folder.write_environment(BEFORE)
        folder.write_environment_after(after(kernel="6.19.0"))
    run = load(folder.path)
    assert run.environment == BEFORE
    assert run.environment_after == after(kernel="6.19.0")


@pytest.mark.parametrize("rfs", [False, True])
def test_the_receive_flow_steering_of_another_run_is_no_change_of_one_without(
    tmp_path: Path,
    rfs: bool,  # noqa: FBT001  a parameter of the test
) -> None:
    off, on = (after(sysctls={"net.core.rps_sock_flow_entries": entries}) for entries in ("0", "32768"))
    with RunFolder.create(tmp_path, msgspec.structs.replace(planned(["a"]), rfs=rfs)) as folder:
        folder.write_environment(off)
        folder.write_environment_after(on)
    said = run("report", folder.path)
    assert said.status == 0
    assert ("net.core.rps_sock_flow_entries: 0 before, 32768 after" in said.out) == rfs


def test_the_report_is_one_paragraph() -> None:
    assert environment_report.changed((), 120) == ""
    text = environment_report.changed(("governor: a before, b\x1b after", "x " * 100), 120)
    assert text.startswith("What changed during the run:\n  governor: a before, b\\x1b after\n  x x")
    assert max(map(len, text.splitlines())) <= 120
