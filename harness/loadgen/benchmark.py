"""Compares the generator with ab on one core: ``python -m harness.loadgen.benchmark [--turns N]``.

The two load the same server in turns, in a new random order each time, each alone and bound to the same CPU. The rate
per CPU second leaves out what other programs on that CPU take away, and the time in which the server is the limit.
"""

import argparse
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from tabulate import tabulate

from harness import ports, processes
from harness.analysis import stats
from harness.errors import BadInput
from harness.loadgen import Generator, Job
from harness.registry import find
from harness.servers import Server

CONCURRENCY = 100
TURN_S = 1.0
"""How long the generator's turns are; ab's are of the length that it needs for REQUESTS."""
REQUESTS = {"short": 20_000, "keepalive": 100_000}
TIMEOUT_S = 2.0
AB_TIMEOUT_S = 60.0
MOST_TURNS = 200
SEED = 1

Workload = Literal["short", "keepalive"]


class Turn(NamedTuple):
    """What one turn of one program came to."""

    rate_rps: float
    rate_per_cpu_s: float


def main() -> None:
    """Run both workloads and print a table for them; exit status 2 when something is missing here."""
    parser = argparse.ArgumentParser(prog="python -m harness.loadgen.benchmark", description=main.__doc__)
    parser.add_argument(
        "--turns", type=_turns, default=20, help="turns of each program, of about a second (%(default)s)"
    )
    turns = parser.parse_args().turns
    try:
        server_cpu, client_cpu = _cpus()
        ab = _find_ab()
    except BadInput as error:
        sys.stderr.write(f"benchmark: error: {error}\n")
        sys.exit(2)
    rows = [_compare(workload, turns, ab, server_cpu, client_cpu) for workload in ("short", "keepalive")]
    headers = ["workload", "turns", "ab/s", "generator/s", "ratio", "ab per CPU s", "generator per CPU s", "ratio"]
    sys.stdout.write(tabulate(rows, headers, disable_numparse=True, stralign="right") + "\n")
    sys.stdout.write("Rates are means. Ratios: generator to ab, mean of the turns' logarithms, with 95 % interval.\n")


def _compare(workload: Workload, turns: int, ab: str, server_cpu: int, client_cpu: int) -> list[str]:
    """Take turns, and return a row of the table."""
    order = random.Random(SEED)
    by_ab: dict[int, Turn] = {}
    by_generator: dict[int, Turn] = {}
    with _server(workload, server_cpu) as server, Generator(client_cpu) as generator:
        host, port = ports.split(server.listen[0])
        url = f"http://{server.listen[0]}/"
        job = Job(
            workload=workload,
            targets=[(host, port)],
            concurrency=CONCURRENCY,
            duration_s=TURN_S,
            reply=server.sample_reply(),
            timeout_s=TIMEOUT_S,
        )
        sides: list[tuple[dict[int, Turn], Callable[[], Turn]]] = [
            (by_ab, lambda: _ab_turn(ab, workload, url, client_cpu)),
            (by_generator, lambda: _generator_turn(generator, job)),
        ]
        for turn in range(turns):
            sys.stderr.write(f"\r{workload}: turn {turn + 1} of {turns}")
            for results, take_turn in order.sample(sides, len(sides)):
                results[turn] = take_turn()
    sys.stderr.write("\n")
    row = [workload, str(turns)]
    for figure in (_rate, _rate_per_cpu_s):
        ours = {turn: figure(result) for turn, result in by_generator.items()}
        theirs = {turn: figure(result) for turn, result in by_ab.items()}
        ratio = stats.ratio(ours, theirs, stats.draws(SEED, workload))
        row += [f"{sum(side.values()) / turns:.0f}" for side in (theirs, ours)]
        row.append(f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})")
    return row


def _rate(turn: Turn) -> float:
    return turn.rate_rps


def _rate_per_cpu_s(turn: Turn) -> float:
    return turn.rate_per_cpu_s


def _generator_turn(generator: Generator, job: Job) -> Turn:
    outcome = generator.run(job, job.duration_s + job.timeout_s + AB_TIMEOUT_S)
    if outcome.errors:
        raise RuntimeError(f"the generator met errors: {outcome.errors}")
    requests = len(outcome.completed_ns)
    return Turn(requests / ((outcome.ended_ns - outcome.started_ns) / 1e9), requests / (outcome.cpu_ns / 1e9))


def _ab_turn(ab: str, workload: Workload, url: str, cpu: int) -> Turn:
    requests = REQUESTS[workload]
    flags = ["-k"] if workload == "keepalive" else []
    command = [ab, "-q", *flags, "-n", str(requests), "-c", str(CONCURRENCY), url]
    before_s = _children_cpu_s()
    process = processes.start(command, cwd=None, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cpus={cpu})
    try:
        output = process.communicate(timeout=AB_TIMEOUT_S)[0].decode()
    finally:
        process.kill()
        process.wait()
    rate = re.search(r"^Requests per second: +([0-9.]+)", output, re.MULTILINE)
    failed = re.search(r"^Failed requests: +([0-9]+)", output, re.MULTILINE)
    if process.returncode or not rate or not failed or int(failed[1]):
        raise RuntimeError(f"ab failed: {output}")
    return Turn(float(rate[1]), requests / (_children_cpu_s() - before_s))


def _children_cpu_s() -> float:
    """Return the CPU time of all child processes that have ended, to the microsecond."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@contextmanager
def _server(workload: Workload, cpu: int) -> Iterator[Server]:
    flags = ["-w", "1", "-c", str(cpu), *(["-k"] if workload == "keepalive" else [])]
    implementation = find("epoll_raw")[0]
    with (
        tempfile.TemporaryDirectory() as folder,
        ports.reserve("127.0.0.1") as address,
        Server(implementation, flags, [address], Path(folder), "server") as server,
    ):
        server.wait_ready()
        yield server


def _cpus() -> Sequence[int]:
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) == 1:
        raise BadInput("this process may use one CPU only; the server and its load need one each")
    return cpus[:2]


def _find_ab() -> str:
    ab = shutil.which("ab")
    if ab is None:
        raise BadInput(
            "ab is not on the PATH; it is in the package apache2-utils (Debian: apt-get install apache2-utils)"
        )
    return ab


def _turns(text: str) -> int:
    turns = int(text)
    if not stats.FEWEST_ROUNDS <= turns <= MOST_TURNS:
        raise argparse.ArgumentTypeError(f"{text} is not between {stats.FEWEST_ROUNDS} and {MOST_TURNS}")
    return turns


if __name__ == "__main__":
    main()
