"""Who runs on which CPU: pure, so that it can be tried for machines that are not at hand.

The server comes first, since it is what is measured. The two hyper-threads of a core slow each other down, so server,
client and backend get no core in common as long as there are cores enough, and workers get a core each as long as that
leaves one for each other side.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

from harness.errors import BadInput
from harness.schema import Cell, PlannedCell
from harness.testbed.cpus import write

GENERATORS_PER_WORKER = 2
"""A generator process does about as many short connections as one worker of the fastest server; two leave room."""

Siblings = Mapping[int, frozenset[int]]
Packages = Mapping[int, int]
"""The package, which is the socket, of each CPU."""
_Core = list[int]


@dataclass(frozen=True, slots=True)
class Cpus:
    """The CPUs that the user chose for each side; None leaves a side to ``place``."""

    server: Collection[int] | None = None
    client: Collection[int] | None = None
    backend: Collection[int] | None = None


def place(
    cell: Cell,
    allowed: Collection[int],
    *,
    server_cpus: Collection[int] | None = None,
    client_cpus: Collection[int] | None = None,
    backend_cpus: Collection[int] | None = None,
    siblings: Siblings | None = None,
    packages: Packages | None = None,
) -> PlannedCell:
    """Give each side of a cell its CPUs out of the ``allowed`` ones; those that were chosen are taken as they are.

    Of the CPUs chosen for the server each worker gets one, and those left over stay idle. Otherwise there are at most
    GENERATORS_PER_WORKER generators, and as many workers of the backend. Where CPUs are too few, client and backend
    share, with each other before they share the server's last. ``siblings`` tells of each CPU which are hyper-threads
    of its core (``cpus.siblings``); without it each is a core. With ``packages`` (``cpus.packages``) the server gets
    the free cores of one before those of the next, however the kernel numbers CPUs; without it they are taken in order.
    Raises BadInput.
    """
    is_proxy = cell.workload == "proxy"
    if not is_proxy:
        backend_cpus = ()
    server, client, backend = (
        None if chosen is None else sorted(set(chosen)) for chosen in (server_cpus, client_cpus, backend_cpus)
    )
    _check(cell, allowed, {"--server-cpus": server, "--client-cpus": client, "--backend-cpus": backend})
    cores = cores_of(allowed, siblings or {}, packages or {})
    if server is None:
        server = _for_server(cell.workers, cores, [*(client or ()), *(backend or ())], [client, backend].count(None))
    reserved, server = server, server[: cell.workers]
    most = cell.workers * GENERATORS_PER_WORKER
    if client is None and backend is None:
        client, backend = (cpus[:most] for cpus in _halves(_free(cores, reserved) or [server[-1:]]))
    client = _beside(cores, reserved, backend)[:most] if client is None else client
    backend = _beside(cores, reserved, client)[:most] if backend is None else backend
    return PlannedCell(
        cell.workload,
        cell.workers,
        cell.concurrency,
        cell.rate_rps,
        cell.idle,
        server_cpus=tuple(server),
        generator_cpus=tuple(sorted(client[: cell.concurrency])),
        backend_cpus=tuple(sorted(backend)),
    )


def _check(cell: Cell, allowed: Collection[int], chosen: Mapping[str, Sequence[int] | None]) -> None:
    for option, cpus in chosen.items():
        foreign = set(cpus or ()) - set(allowed)
        if foreign:
            raise BadInput(
                f"{option} {write(cpus or ())}: this process may not use CPU {write(foreign)}; "
                f"choose from {write(allowed)}"
            )
        if cpus == [] and not (option == "--backend-cpus" and cell.workload != "proxy"):
            raise BadInput(f"{option}: no CPU is named; choose from {write(allowed)}")
    server = chosen["--server-cpus"]
    if server is not None and cell.workers > len(server):
        raise BadInput(
            f"--server-cpus {write(server)}: {cell.workers} workers need {cell.workers} CPUs; "
            f"name as many, or give --workers {len(server)} or less"
        )
    if cell.workers > len(allowed):
        raise BadInput(
            f"--workers {cell.workers}: {cell.workers} workers need {cell.workers} CPUs, "
            f"and this process may use {len(allowed)}; give {len(allowed)} or less"
        )


def cores_of(allowed: Collection[int], siblings: Siblings, packages: Packages) -> list[_Core]:
    """Sort the allowed CPUs into cores, package by package, the core with the lowest first."""
    found: dict[frozenset[int], _Core] = {}
    for cpu in sorted(allowed, key=lambda cpu: (packages.get(cpu, 0), cpu)):
        found.setdefault(siblings.get(cpu, frozenset([cpu])), []).append(cpu)
    return list(found.values())


def _free(cores: Sequence[_Core], taken: Iterable[int]) -> list[_Core]:
    """Return the cores that nobody has taken a CPU of; where there are none, what is left of the others."""
    gone = set(taken)
    left = [[cpu for cpu in core if cpu not in gone] for core in cores]
    whole = [core for core, rest in zip(cores, left, strict=True) if len(rest) == len(core)]
    return whole or [rest for rest in left if rest]


def _in_turn(cores: Iterable[_Core]) -> list[int]:
    """Return the CPUs in the order in which they are best used: of each core one, then of each the next."""
    return [cpu for turn in zip_longest(*cores) for cpu in turn if cpu is not None]


def _for_server(workers: int, cores: Sequence[_Core], taken: Collection[int], sides_to_come: int) -> list[int]:
    """Choose a CPU for each worker, and leave a core for each side that is still to come, where that can be."""
    left = [[cpu for cpu in core if cpu not in taken] for core in cores]
    pools = (_free(cores, taken), [core for core in left if core], cores)
    pool = next(pool for pool in pools if sum(map(len, pool)) >= workers)
    least = next(count for count in range(1, len(pool) + 1) if sum(map(len, pool[:count])) >= workers)
    # A core for one of the others is better than none, and where there is none the workers need them all.
    spread = next(len(pool) - sides for sides in range(sides_to_come, -1, -1) if len(pool) - sides >= least)
    return sorted(_in_turn(pool[: min(workers, spread)])[:workers])


def _halves(cores: Sequence[_Core]) -> tuple[list[int], list[int]]:
    """Divide cores among client and backend; of one core each gets some, and one CPU they share."""
    parts = cores if len(cores) > 1 else [[cpu] for cpu in chain(*cores)]
    if len(parts) == 1:
        return parts[0], parts[0]
    return _in_turn(parts[: len(parts) // 2]), _in_turn(parts[len(parts) // 2 :])


def _beside(cores: Sequence[_Core], server: Sequence[int], other: Sequence[int] | None) -> list[int]:
    """Return what is left for a side when the others have got theirs."""
    taken = [*server, *(other or ())]
    return _in_turn(_free(cores, taken) or _free(cores, server) or [list(server[-1:])])
