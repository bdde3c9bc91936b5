"""Messages cut into pieces, and their sending while the test does something else."""

import itertools
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from hypothesis import strategies as st

from harness.conformance.connection import Connection
from harness.conformance.violation import ContractViolation

SEND_TIMEOUT_S = 20.0
TAKEN_WITHIN_S = 10.0
READ_SIZES_BYTES = (65_535, 65_536, 65_537, 131_072, 262_144)
"""Around what a proxy asks for in one read, and what its library does."""
LARGE_BYTES = 1_500_000


@dataclass(frozen=True, slots=True)
class Cuts:
    """Where a message is cut, and after which pieces the sender waits until the other end has read all of it."""

    at: tuple[tuple[int, bool], ...]
    """Places in millionths of the message, or from its begin when below 64; whether there is a wait."""

    def pieces(self, message: bytes) -> list[tuple[bytes, bool]]:
        """Cut a message."""
        places = {place if place < 64 else len(message) * place // 1_000_000: waits for place, waits in self.at}
        inner = sorted(place for place in places if 0 < place < len(message))
        bounds = itertools.pairwise([0, *inner, len(message)])
        return [(message[begin:end], places.get(end, False)) for begin, end in bounds]


def sizes(largest: int = LARGE_BYTES) -> st.SearchStrategy[int]:
    """Lengths of bodies, of which a proxy's read sizes matter most."""
    small, around = st.integers(0, 3_000), st.sampled_from([size for size in READ_SIZES_BYTES if size <= largest])
    return st.one_of(small, around, st.integers(0, largest))


def cuts() -> st.SearchStrategy[Cuts]:
    """Up to a dozen places, some of them in the first bytes."""
    place = st.tuples(st.one_of(st.integers(1, 63), st.integers(64, 999_999)), st.booleans())
    return st.lists(place, max_size=12).map(tuple).map(Cuts)


def content(length: int, seed: int) -> bytes:
    """Make bytes of which no part repeats."""
    return random.Random(seed).randbytes(length)


def send(sender: Connection, pieces: Sequence[tuple[bytes, bool]]) -> None:
    """Send piece by piece. Raises ContractViolation when the other end does not take one."""
    for piece, waits in pieces:
        sender.send(piece, SEND_TIMEOUT_S)
        if waits and not sender.wait_taken(TAKEN_WITHIN_S):
            raise ContractViolation(f"{len(piece)} bytes to be read", f"nothing read in {TAKEN_WITHIN_S:g} s")


@contextmanager
def meanwhile(connection: Connection, play: Callable[[], None], *, may_fail: bool = False) -> Iterator[None]:
    """Play a connection's part in another thread, until it has ended; with ``may_fail`` until the block ends."""
    problems: list[ContractViolation] = []

    def run() -> None:
        try:
            play()
        except ContractViolation as violation:
            problems.append(violation)

    thread = threading.Thread(target=run, name="meanwhile")
    thread.start()
    try:
        yield
    except BaseException:
        connection.give_up()
        raise
    finally:
        if may_fail:
            connection.give_up()
        thread.join()
    if problems and not may_fail:
        raise problems[0]


def sending(sender: Connection, pieces: Sequence[tuple[bytes, bool]]) -> AbstractContextManager[None]:
    """Send in another thread."""
    return meanwhile(sender, lambda: send(sender, pieces))
