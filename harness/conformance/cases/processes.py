"""Processes: how many workers, where they run, and that each does its part."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence

from harness import processes
from harness.conformance.case import Section
from harness.conformance.subject import Subject
from harness.conformance.violation import ContractViolation, RequirementMissing
from harness.conformance.worker import SETTLE_S, client_of, cpus_of, expect_workers
from harness.servers import Server

SECTION = Section()


@SECTION.case("PROC-WORKERS", "-w N makes N workers", workers=1)
def one_worker(subject: Subject) -> None:
    """One where one is asked for."""
    expect_workers(subject, subject.server, 1)


@SECTION.case("PROC-WORKERS", "-w N makes N workers", workers=None, name="default")
def worker_per_cpu(subject: Subject) -> None:
    """One for each CPU where nothing is said."""
    expect_workers(subject, subject.server, len(_allowed()))


@SECTION.case("PROC-PINNED", "each worker is bound to one CPU, worker i to the i-th", workers=None)
def pinned(subject: Subject) -> None:
    """Read the kernel's list of allowed CPUs, for each thread of each worker."""
    if len(_allowed()) == 1:
        raise RequirementMissing("with one CPU every process is bound to it")
    _expect_cpus(subject, subject.server, _allowed())


@SECTION.case("PROC-START-CPU", "-c CPU makes that CPU the first one", server="none")
def start_cpu(subject: Subject) -> None:
    """From the last CPU on there is room for one worker, on that CPU."""
    last = _several_allowed()[-1]
    _expect_cpus(subject, subject.start(["-c", str(last)]), [last])


@SECTION.case("PROC-ALLOWED-CPUS", "only CPUs that the process may use count", server="none")
def allowed_cpus(subject: Subject) -> None:
    """Start a server that may use the last CPU only: it has one worker, there."""
    last = _several_allowed()[-1]
    _expect_cpus(subject, subject.start([], cpus=[last]), [last])


@SECTION.case("PROC-OVERSUBSCRIBE", "with --oversubscribe more workers than CPUs share them in turn", server="none")
def oversubscribe(subject: Subject) -> None:
    """Two CPUs and three workers, so the first CPU has two."""
    cpus = _allowed()[:2]
    server = subject.start(["-w", str(len(cpus) + 1), "--oversubscribe"], cpus=cpus)
    _expect_cpus(subject, server, [*cpus, cpus[0]])


@SECTION.case("PROC-ALL-SERVE", "every worker accepts connections by itself", server="none")
def all_serve(subject: Subject) -> None:
    """Each worker answers while the others are stopped, so that nothing hangs on whom the kernel would choose."""
    server = subject.start(["-w", "2", "--oversubscribe"])
    pids = expect_workers(subject, server, 2)
    for pid in pids:
        client_of(subject, server, pid, pids)


def _allowed() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def _several_allowed() -> list[int]:
    allowed = _allowed()
    if len(allowed) == 1:
        raise RequirementMissing("it takes two CPUs, and this process may use one")
    return allowed


def _expect_cpus(subject: Subject, server: Server, cpus: Sequence[int]) -> None:
    """See as many workers as CPUs, each bound to one of them, and the same after an exchange.

    Before it is bound a worker may use what its parent may, which can look like what is wanted.
    """
    wanted = Counter(str(cpu) for cpu in cpus)

    def bound() -> bool:
        return Counter(_bound_to(server)) == wanted

    def settled() -> bool:
        if bound():
            subject.exchange(server.listen[0])
            return bound()
        return False

    if not processes.wait_until(settled, SETTLE_S):
        raise ContractViolation(
            f"a worker on each of the CPUs {_listed(map(str, cpus))}",
            f"workers that may use the CPUs {_listed(_bound_to(server)) or 'none: there are no workers'}",
        )


def _bound_to(server: Server) -> list[str]:
    """List for each worker the CPUs it may use, as the kernel writes them; a thread that differs counts as well."""
    return [cpus for pid in server.worker_pids() for cpus in cpus_of(pid)]


def _listed(cpus: Iterable[str]) -> str:
    return " | ".join(cpus)
