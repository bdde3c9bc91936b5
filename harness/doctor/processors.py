"""Which CPUs there are for each side, and whose they are besides."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from harness.doctor.check import Area, Check, Finding, ok, problem, unknown, warning
from harness.doctor.system import System
from harness.environment import is_virtual, vulnerabilities
from harness.testbed import cpus

DEAR_MITIGATIONS: Final = (
    "PTI", "IBRS", "Safe RET", "untrained return thunk", "Clear CPU buffers", "IBPB", "IBPB: always-on",
)  # fmt: skip
"""What the kernel does on its way in or out, so each time; the rest is built in or done by the CPU itself.

See the kernel's Documentation/admin-guide/hw-vuln. IBPB as the only word is for each way in, ``IBPB: conditional`` for
programs that asked for it; ``Enhanced / Automatic IBRS`` is the CPU's own.
"""
_MITIGATION: Final = "Mitigation:"
_CLOUDS: Final = (
    "amazon ec2", "bochs", "google compute", "kvm", "openstack", "parallels", "qemu", "virtual", "vmware", "xen",
)  # fmt: skip
"""Parts of what the firmware of virtual machines calls itself (/sys/class/dmi/id), in lower case."""
_DMI: Final = "/sys/class/dmi/id"
_UNLIMITED: Final = ("max", "-1")


def _places(system: System) -> Finding:
    roles = system.roles
    shared = sorted(set(roles.server) & roles.others)
    sides = (
        f"server on CPU {cpus.write(roles.server)}, client on {cpus.write(roles.client)}, "
        f"backend on {cpus.write(roles.backend)}, of {cpus.write(system.allowed)}"
    )
    if shared:
        return problem(f"{sides}: CPU {cpus.write(shared)} has server and client; take a machine with more CPUs")
    if set(roles.client) & set(roles.backend):
        return warning(f"{sides}: client and backend share, so requests/s of proxies are not ranked")
    return ok(sides)


def _threads(system: System) -> Finding:
    siblings = cpus.siblings(system.files.root)
    if not siblings:
        return unknown("the kernel does not say which CPUs are hyper-threads of one core")
    server = system.roles.server
    with_others = sorted(cpu for cpu in server if (siblings.get(cpu, frozenset()) - {cpu}) & system.roles.others)
    together = sorted(cpu for cpu in server if (siblings.get(cpu, frozenset()) - {cpu}) & set(server))
    mend = "echo off > /sys/devices/system/cpu/smt/control"
    if with_others:
        return problem(f"CPU {cpus.write(with_others)} of the server's shares its core with another side's CPU", mend)
    if together:
        return warning(f"CPU {cpus.write(together)} of the server's are hyper-threads of the same cores", mend)
    backend = set(system.roles.backend) - set(system.roles.client)
    beside_client = sorted(
        cpu for cpu in backend if (siblings.get(cpu, frozenset()) - {cpu}) & set(system.roles.client)
    )
    if beside_client:
        return warning(f"CPU {cpus.write(beside_client)} of the backend's shares its core with the client's", mend)
    rest = {other for cpu in server for other in siblings.get(cpu, ())} - set(server)
    beside = f"; their cores' other threads, CPU {cpus.write(rest)}, are to stay idle" if rest else ""
    return ok(f"the server's CPUs are cores of their own{beside}")


def _nodes(system: System) -> Finding:
    nodes = {
        int(path.parent.name.removeprefix("node")): set(cpus.parse(text))
        for path in system.files.matching("/sys/devices/system/node/node[0-9]*/cpulist")
        if (text := system.files.read(path))
    }
    if len(nodes) <= 1:
        return ok("memory is in one node")
    of_server = sorted(node for node, members in nodes.items() if members & set(system.roles.server))
    if len(of_server) > 1:
        return warning(f"the server's CPUs are in nodes {cpus.write(of_server)}; --server-cpus chooses others")
    if system.files.sysctl("kernel.numa_balancing") not in {None, "0"}:
        return warning("the kernel moves pages between nodes as it sees fit", "sysctl -w kernel.numa_balancing=0")
    return ok(f"the server's CPUs are in node {cpus.write(of_server)}, and pages stay where they are")


def _quota(system: System) -> Finding:
    needed = len(system.roles.all)
    looked = False
    tightest: tuple[float, Path, Path] | None = None
    for folder in _groups(system):
        looked = True
        for name, cpus_worth in _limits(system, folder):
            if tightest is None or cpus_worth < tightest[0]:
                tightest = cpus_worth, folder, folder / name
    if not looked:
        return unknown("the control groups of this process are not to be seen here")
    if tightest is None:
        return ok("none")
    worth, folder, file = tightest
    said = f"{folder} may use as much as {worth:g} CPUs"
    if worth >= len(system.allowed):
        return ok(f"{said}, and there are {len(system.allowed)}")
    mend = f"echo {'max' if file.name == 'cpu.max' else -1} > {file}"
    if worth < needed:
        return problem(f"{said}, and the sides need {needed}", mend)
    return warning(f"{said}, of {len(system.allowed)}", mend)


def _limits(system: System, folder: Path) -> Iterator[tuple[str, float]]:
    """Yield the file of each limit of a group, and how many CPUs it is worth (cgroup-v2.rst; v1: sched-bwc.rst)."""
    pair = (system.files.read(folder / "cpu.max") or "").split()
    quota, period = system.files.read(folder / "cpu.cfs_quota_us"), system.files.number(folder / "cpu.cfs_period_us")
    if len(pair) == 2 and pair[0] not in _UNLIMITED:  # noqa: PLR2004  quota and period
        yield "cpu.max", int(pair[0]) / int(pair[1])
    if quota is not None and period and quota not in _UNLIMITED:
        yield "cpu.cfs_quota_us", int(quota) / period


def _groups(system: System) -> Iterator[Path]:
    """Yield the groups that limit this process's CPU time: its own, and those around it, as far as they are mounted."""
    paths = {}
    for line in system.files.lines("/proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if not controllers or "cpu" in controllers.split(","):
            paths["cgroup2" if not controllers else "cgroup"] = Path(path)
    for line in system.files.lines("/proc/self/mountinfo"):
        mount, _, rest = line.partition(" - ")
        kind, _, options = rest.split(" ", 2)
        if kind not in paths or (kind == "cgroup" and "cpu" not in options.split(" ")[-1].split(",")):
            continue
        root, point = map(Path, mount.split(" ")[3:5])
        try:
            own = point / paths[kind].relative_to(root)
        except ValueError:  # of another namespace of groups
            own = point
        yield from (folder for folder in (own, *own.parents) if folder == point or point in folder.parents)


def _mitigations(system: System) -> Finding:
    known = vulnerabilities(system.files)
    if not known:
        return unknown("the kernel does not say")
    dear = sorted(name for name, state in known.items() if _is_dear(state or ""))
    if not dear:
        return ok("none that makes system calls dearer")
    return warning(
        f"{', '.join(dear)} make system calls dearer",
        # A drop-in, so that the file that others edit stays as it is.
        "mkdir -p /etc/default/grub.d && "
        """echo 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX mitigations=off"' > /etc/default/grub.d/percore.cfg && """
        "update-grub  # only on a machine that runs nobody else's code; then start it anew",
    )


def _is_dear(state: str) -> bool:
    """Tell by a line such as ``Mitigation: Retpolines; IBPB: conditional; STIBP: disabled``."""
    if not state.startswith(_MITIGATION):
        return False  # "Vulnerable; ...": also what it lists is not done
    items = {item.strip().casefold() for item in state.removeprefix(_MITIGATION).split(";")}
    return not items.isdisjoint(what.casefold() for what in DEAR_MITIGATIONS)


def _virtual(system: System) -> Finding:
    firmware = [system.files.read(f"{_DMI}/{name}") or "" for name in ("sys_vendor", "product_name")]
    called = " ".join(filter(None, firmware))
    kind = system.files.read("/sys/hypervisor/type")
    by_cpu = is_virtual(system.files)
    by_firmware = any(word in called.lower() for word in _CLOUDS) and "metal" not in called.lower()
    if by_cpu or kind or by_firmware:
        return warning(f"yes{f' ({called or kind})' if called or kind else ''}")
    if by_cpu is None and not called:
        return unknown("neither CPU nor firmware says")
    return ok(f"no{f' ({called})' if called else ''}")


def _huge_pages(system: System) -> Finding:
    name = "/sys/kernel/mm/transparent_hugepage/enabled"
    chosen = system.files.chosen(name)
    if chosen is None:
        return ok("the kernel has none")
    if chosen == "always":
        return warning(chosen, f"echo madvise > {name}")
    return ok(chosen)


AREA: Final = Area(
    "CPUs and memory for each side",
    (
        Check(
            "cpu.places", "a CPU for each side", "server, client and backend have CPUs of their own",
            "sides that share a CPU take time from each other, and neither's speed is its own", _places,
        ),
        Check(
            "cpu.threads", "hyper-threads", "no core has threads of two sides, nor of two workers",
            "two threads of a core slow each other down, by how much depends on what the other does", _threads,
        ),
        Check(
            "cpu.nodes", "nodes of memory", "the server's CPUs are in one node, and kernel.numa_balancing is 0",
            "memory of another node is slower, and moving pages there costs page faults at odd times", _nodes,
        ),
        Check(
            "cpu.quota", "limit on CPU time", "none (cpu.max of all control groups around this one)",
            "who has used up the quota of a tenth of a second stands still for the rest of it", _quota,
        ),
        Check(
            "cpu.mitigations", "mitigations", f"none of these: {', '.join(DEAR_MITIGATIONS)}",
            "a dearer system call favours servers that make few; figures of machines that differ here do not compare",
            _mitigations,
        ),
        Check(
            "cpu.virtual", "virtual machine", "no",
            "its host decides when CPUs and network run, unseen from here: trust ratios of one run, not figures",
            _virtual,
        ),
        Check(
            "memory.huge_pages", "transparent huge pages", "madvise or never",
            "with always a server's memory grows in steps of 2 MB, and the kernel merges pages beside the load",
            _huge_pages,
        ),
    ),
)  # fmt: skip
