"""Which of the workers' listeners gets a connection: the one of the worker on the CPU that has received its SYN.

Fastsocket's "listen spawn" on a stock kernel: sockets of one address with SO_REUSEPORT form a group, and a classic BPF
program that is attached to the group picks one by its index (SO_ATTACH_REUSEPORT_CBPF in socket(7)). The kernel numbers
them in the order in which they began to listen, and asks the program on the CPU that works on the SYN.
"""

import ctypes
import socket
import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise

_SO_ATTACH_REUSEPORT_CBPF = 51
# Instructions of classic BPF (include/uapi/linux/bpf_common.h): a class, with a mode or an operation.
_LOAD, _LOAD_X_MEMORY, _STORE = 0x20, 0x61, 0x02
_JUMP, _JUMP_GREATER, _JUMP_AT_LEAST = 0x05, 0x25, 0x35
_SUBTRACT, _ADD, _ADD_X, _MULTIPLY, _MODULO = 0x14, 0x04, 0x0C, 0x24, 0x94
_RETURN_A = 0x16
_CPU, _RANDOM = 0xFFFFF000 + 36, 0xFFFFF000 + 56
"""What _LOAD takes from the kernel instead of the packet (SKF_AD_OFF with SKF_AD_CPU and SKF_AD_RANDOM)."""

Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false, operand: what ``struct sock_filter`` has."""


def attach(listener: socket.socket, cpus: Sequence[int]) -> None:
    """Steer the connections of a listener's group, in which worker i's is the i-th and runs on ``cpus[i]``.

    Raises OSError when the kernel takes no such program.
    """
    instructions = b"".join(struct.pack("=HBBI", *one) for one in program(cpus))
    held = ctypes.create_string_buffer(instructions, len(instructions))
    described = struct.pack("@HP", len(instructions) // 8, ctypes.addressof(held))
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, described)


def program(cpus: Sequence[int]) -> list[Instruction]:
    """Write the program that returns the index of a worker on the CPU that it runs on.

    A CPU with several workers chooses one by chance; one without any is given a worker by its number.
    """
    distinct = list(dict.fromkeys(cpus))
    steps: list[Instruction] = [(_LOAD, 0, 0, _CPU)]
    runs = list(_runs(distinct))
    for later, (first, last, place) in zip(reversed(range(len(runs))), runs, strict=True):
        steps += [
            (_JUMP_AT_LEAST, 0, 4, first),
            (_JUMP_GREATER, 3, 0, last),
            (_SUBTRACT, 0, 0, first),
            (_ADD, 0, 0, place),
            (_JUMP, 0, 0, 5 * later + 1),  # behind the later runs, and what is for CPUs in none of them
        ]
    steps.append((_MODULO, 0, 0, len(distinct)))
    if len(cpus) > len(distinct):
        steps += _one_of_several(len(cpus), len(distinct))
    return [*steps, (_RETURN_A, 0, 0, 0)]


def _one_of_several(workers: int, cpus: int) -> list[Instruction]:
    """Choose among the workers of the CPU whose first one's index has been found: each further is ``cpus`` later."""
    turns, with_one_more = divmod(workers, cpus)
    return [
        (_STORE, 0, 0, 0),
        (_JUMP_AT_LEAST, 3, 0, with_one_more),
        (_LOAD, 0, 0, _RANDOM),
        (_MODULO, 0, 0, turns + 1),
        (_JUMP, 0, 0, 2),
        (_LOAD, 0, 0, _RANDOM),
        (_MODULO, 0, 0, turns),
        (_MULTIPLY, 0, 0, cpus),
        (_LOAD_X_MEMORY, 0, 0, 0),
        (_ADD_X, 0, 0, 0),
    ]


def _runs(cpus: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield first CPU, last CPU and the first one's place for each run of consecutive numbers."""
    starts = [0, *(place for place, (one, other) in enumerate(pairwise(cpus), 1) if other != one + 1), len(cpus)]
    for start, end in pairwise(starts):
        yield cpus[start], cpus[end - 1], start
