"""Small run folders as ``harness compare`` leaves them, to be broken by tests: one of schema 1, one of schema 2."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from harness import histogram_log, results
from harness.analysis.comparison import compare
from harness.analysis.latency import KINDS, LatencyHistogram
from harness.environment_schema import Environment
from harness.histogram_log import Key
from harness.schema import ClientPorts, ContextSwitches, Schedule, Slice, TcpCounts, WorkerLocality
from tests.simulated import Server, cell, measure, planned

Files = Mapping[str, bytes]
"""What each file of a folder holds, by its name."""

VERSION_1: Final = Path(__file__).parent / "data" / "run-v1"
NOT_HERE: Final = 60_000
"""A CPU that no machine of ours has: no run of this goes on by mistake."""
_ROUNDS = 4
_LINES = 8


def of_schema_1() -> dict[str, bytes]:
    """Return a stored run of version 1, with its first slices and histograms alone."""
    files = {path.name: path.read_bytes() for path in sorted(VERSION_1.iterdir())}
    for name in (results.SLICES, results.HISTOGRAMS):
        files[name] = b"".join(files[name].splitlines(keepends=True)[:_LINES])
    return files


def of_schema_2() -> dict[str, bytes]:
    """Return a run with all that this version observes: closed and open loop, idle connections, a proxy."""
    cells = [
        msgspec.structs.replace(
            one,
            server_cpus=(NOT_HERE,),
            schedule=Schedule(slice_s=0.05, rounds=_ROUNDS, blocks=2, fixed_rate_rps=500),
        )
        for one in (cell("short"), cell("proxy", backend=[2]))
    ]
    cells[0] = msgspec.structs.replace(cells[0], idle=1000)
    cells.append(msgspec.structs.replace(cells[0], idle=0, rate_rps=1000))
    plan = planned(["epoll_raw", "trio"], *cells)
    plan = msgspec.structs.replace(plan, testbed="netns", testbed_notes=("auto took netns",), precision=0.02)
    slices = [_observed(piece) for piece in measure(plan, {"epoll_raw": Server(2000), "trio": Server(900)}, rounds=4)]
    slices += [msgspec.structs.replace(one, phase="fixed-rate", rate_rps=500) for one in slices[:8]]
    slices += [msgspec.structs.replace(one, phase="without-idle") for one in slices[:8]]
    histograms = _histograms([(cells[0].key, "trio"), (cells[2].key, "epoll_raw")])
    summary = compare(plan, slices, histograms)
    environment = Environment(
        schema=2,
        kernel="6.1",
        cpus_allowed=(0, 1),
        memory_bytes=2**30,
        sysctls={"net.core.somaxconn": "4096"},
        libraries={"trio": "0.30"},
        load_average=(0.5, 0.4, 0.3),
        cpu_time_ns=10**12,
        cpu_steal_ns=0,
    )
    after = msgspec.structs.replace(environment, kernel="6.2", cpu_time_ns=2 * 10**12, cpu_steal_ns=10**11)
    text = histogram_log.header(1.0) + histogram_log.lines(histograms, 0.0, 1.0)
    return {
        results.PLAN: msgspec.json.encode(plan),
        results.ENVIRONMENT: msgspec.json.encode(environment),
        results.ENVIRONMENT_AFTER: msgspec.json.encode(after),
        results.SUMMARY: msgspec.json.encode(summary),
        results.SLICES: b"".join(msgspec.json.encode(piece) + b"\n" for piece in slices),
        results.HISTOGRAMS: text.encode(),
    }


def write(files: Files, folder: Path) -> Path:
    """Write a folder, with nothing else in it; returns it."""
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def _observed(piece: Slice) -> Slice:
    return msgspec.structs.replace(
        piece,
        block=piece.round // 2,
        rate_rps=1000 if piece.cell.endswith("/r1000") else None,
        errors={"timeout": 1},
        context_switches=ContextSwitches(100, 10),
        tcp=TcpCounts(segments_in=500, segments_out=400, retransmitted=0, listen_overflows=0, listen_drops=0),
        ports=ClientPorts(time_wait=100, left=20_000),
        rss_bytes=2**24,
        idle_rss_bytes=2**20,
        worker_accepted=[40],
        worker_local=[WorkerLocality(local_accepts=1, sampled_accepts=2, local_backends=3, sampled_backends=4)],
        backend_rps=30_000,
        lateness_ns=20_000,
    )


def _histograms(who: list[tuple[str, str]]) -> dict[Key, LatencyHistogram]:
    found: dict[Key, LatencyHistogram] = {}
    for cell_key, name in who:
        for kind in KINDS:
            found[cell_key, name, kind] = LatencyHistogram()
            found[cell_key, name, kind].record(np.array([50_000, 60_000, 900_000], dtype=np.uint64))
    return found
