"""What a machine does while nothing of ours runs: two looks, and what has moved between them."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from harness.environment import STEAL, cpu_ticks
from harness.machine_files import MachineFiles

_IDLE = (3, 4)
"""Of what ``cpu_ticks`` returns: idle, and idle while the disk works."""
_USER_TICKS, _SYSTEM_TICKS, _START = 11, 12, 19
"""Of /proc/PID/stat, counted from behind the name: fields 14, 15 and 22 of proc_pid_stat(5)."""
_DROPPED = 1
"""Of a line of /proc/net/softnet_stat, which has one for each CPU (softnet_seq_show, net/core/net-procfs.c)."""


class Process(NamedTuple):
    """A process at one moment; its name may be another later, as a kworker's is."""

    name: str
    ticks: int
    """Of CPU time since its start."""


@dataclass(frozen=True)
class Look:
    """Counters at one moment; all of them only ever grow."""

    cpus: Mapping[str, Sequence[int]]
    processes: Mapping[tuple[int, int], Process]
    """By number and time of start, since numbers come again."""
    swapped_pages: int
    dropped_packets: int
    """By the queues of packets that each CPU has (net.core.netdev_max_backlog)."""

    @classmethod
    def take(cls, files: MachineFiles) -> Self:
        """Look at a machine, all of whose processes but this one count."""
        rows = [line.split() for line in files.lines("/proc/vmstat") if line.startswith(("pswpin ", "pswpout "))]
        queues = [line.split() for line in files.lines("/proc/net/softnet_stat")]
        return cls(
            cpus=cpu_ticks(files),
            processes=_processes(files),
            swapped_pages=sum(int(row[1]) for row in rows),
            dropped_packets=sum(int(row[_DROPPED], 16) for row in queues),
        )


@dataclass(frozen=True)
class Watched:
    """What a machine did for a moment."""

    busy: Mapping[int, float] = field(default_factory=dict)
    """The share of each CPU's time that somebody used."""
    steal: Mapping[int, float] = field(default_factory=dict)
    """The share that the host gave to others."""
    knows_steal: bool = False
    """Whether there ever was any since the machine's start: some hosts tell of none."""
    programs: Sequence[tuple[str, float]] = ()
    """Who used most, and what share of one CPU; the greediest first."""
    swapped_pages: int = 0
    dropped_packets: int = 0

    @classmethod
    def between(cls, before: Look, after: Look) -> Self:
        """Tell what has moved."""
        busy, steal, passed = {}, {}, 0
        for name, ticks in after.cpus.items():
            number = name.removeprefix("cpu")
            if not number or name not in before.cpus:
                continue
            spent = [max(0, now - then) for then, now in zip(before.cpus[name], ticks, strict=True)]
            passed = max(passed, sum(spent))
            if sum(spent):
                steal[int(number)] = spent[STEAL] / sum(spent)
                busy[int(number)] = 1 - (sum(spent[field] for field in _IDLE) + spent[STEAL]) / sum(spent)
        used = [
            (process.name, process.ticks - (before.processes[who].ticks if who in before.processes else 0))
            for who, process in after.processes.items()
        ]
        used.sort(key=lambda one: one[1], reverse=True)
        return cls(
            busy=busy,
            steal=steal,
            knows_steal=any(ticks[STEAL] for ticks in after.cpus.values()),
            programs=[(name, ticks / max(1, passed)) for name, ticks in used if ticks > 0],
            swapped_pages=after.swapped_pages - before.swapped_pages,
            dropped_packets=after.dropped_packets - before.dropped_packets,
        )


def watch(files: MachineFiles, duration_s: float) -> Watched:
    """Look twice at a machine; a duration of a second shows each CPU's share to 1 %."""
    before = Look.take(files)
    time.sleep(duration_s)
    return Watched.between(before, Look.take(files))


def _processes(files: MachineFiles) -> dict[tuple[int, int], Process]:
    found = {}
    for path in files.matching("/proc/[0-9]*/stat"):
        # The name may hold spaces and brackets itself.
        head, _, rest = (files.read(path) or "").rpartition(")")
        number, _, name = head.partition(" (")
        fields = rest.split()
        if len(fields) > _START and int(number) != os.getpid():
            ticks = int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])
            found[int(number), int(fields[_START])] = Process(name, ticks)
    return found
