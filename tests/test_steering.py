"""The program that picks the listener of the CPU that works on a SYN, on machines that are not at hand."""

import operator
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from impls.steering import Instruction, attach, program

CPU, RANDOM = 0xFFFFF024, 0xFFFFF038
"""Where a load finds what the kernel knows: SKF_AD_OFF with SKF_AD_CPU and with SKF_AD_RANDOM (linux/filter.h)."""
MOST_INSTRUCTIONS = 4096
"""BPF_MAXINSNS."""
MACHINES = {
    "one CPU": [3],
    "96 CPUs": range(96),
    "every other CPU of 192": range(0, 192, 2),
    "with gaps": [1, 2, 3, 8, 10, 11, 95],
    "one CPU with four workers": [5] * 4,
    "two turns of 96": [*range(96)] * 2,
    "a last turn in part": [*range(96), *range(96), *range(10)],
    "a last turn in part, with gaps": [0, 2, 3, 7, 0, 2],
}


ARITHMETIC: dict[int, Callable[[int, int, int], int]] = {
    0x04: lambda a, _, k: a + k,  # add #k
    0x0C: lambda a, x, _: a + x,  # add x
    0x14: lambda a, _, k: a - k,  # sub #k
    0x24: lambda a, _, k: a * k,  # mul #k
    0x94: lambda a, _, k: a % k,  # mod #k
}
JUMPS: dict[int, Callable[[int, int], bool]] = {0x25: operator.gt, 0x35: operator.ge}  # jgt #k, jge #k


def run(steps: Sequence[Instruction], cpu: int, drawn: int) -> int:
    """Interpret classic BPF (Documentation/networking/filter.rst), as far as a choice of a listener needs it."""
    at, a, x, memory = 0, 0, 0, dict[int, int]()
    while True:
        code, if_true, if_false, k = steps[at]
        at += 1
        match code:
            case 0x16:  # ret a
                return a
            case 0x20:  # ld [k]
                a = {CPU: cpu, RANDOM: drawn}[k]
            case 0x02:  # st M[k]
                memory[k] = a
            case 0x61:  # ldx M[k]
                x = memory[k]
            case 0x05:  # ja k
                at += k
            case _ if code in JUMPS:
                at += if_true if JUMPS[code](a, k) else if_false
            case _:
                a = ARITHMETIC[code](a, x, k)
        assert 0 <= a < 2**32


def reached(cpus: Sequence[int], cpu: int) -> set[int]:
    """Run the program for so many draws that all remainders occur that it may take."""
    steps, most_on_a_cpu = program(cpus), max(Counter(cpus).values())
    return {run(steps, cpu, drawn) for drawn in range(most_on_a_cpu)}


def workers_on(cpus: Sequence[int], cpu: int) -> set[int]:
    return {worker for worker, its_cpu in enumerate(cpus) if its_cpu == cpu}


@pytest.mark.parametrize("cpus", MACHINES.values(), ids=MACHINES.keys())
def test_each_cpu_has_all_of_its_workers_and_no_other(cpus: Sequence[int]) -> None:
    for cpu in set(cpus):
        assert reached(cpus, cpu) == workers_on(cpus, cpu)


@settings(max_examples=30)
@given(st.sets(st.integers(0, 400), min_size=1, max_size=40), st.integers(1, 130), st.integers(0, 500))
def test_whichever_cpus_there_are_a_worker_is_found_from_every_one(there_are: set[int], workers: int, cpu: int) -> None:
    usable = sorted(there_are)
    cpus = [usable[worker % len(usable)] for worker in range(workers)]
    found = reached(cpus, cpu)
    assert found == workers_on(cpus, cpu) if cpu in cpus else found <= set(range(workers))


@pytest.mark.parametrize("cpus", [[0, 1], range(96), [*range(96), *range(10)]], ids=len)
def test_cpus_without_a_worker_are_spread_over_those_that_have_some(cpus: Sequence[int]) -> None:
    apart = len(set(cpus))
    given = [reached(cpus, cpu) for cpu in range(apart, 3 * apart)]
    assert set.union(*given) == set(range(len(cpus)))


@pytest.mark.parametrize("cpus", MACHINES.values(), ids=MACHINES.keys())
def test_the_kernel_takes_the_program(cpus: Sequence[int]) -> None:
    assert len(program(cpus)) <= MOST_INSTRUCTIONS
    with closing(socket.socket()) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        attach(listener, cpus)


def test_a_program_that_is_too_long_is_refused() -> None:
    with closing(socket.socket()) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        with pytest.raises(OSError, match="Invalid argument"):
            attach(listener, range(0, 2000, 2))
