"""Fuzzes all that parses, guided by coverage, some inputs each in turn: ``python -m tests.fuzz``, or ``make fuzz``."""

import argparse
import secrets
import sys
import time

from tests.fuzz.guided import Fuzzer
from tests.fuzz.targets import TARGETS

_LONGEST_S = 86400.0
_TURN_INPUTS = 20
"""The same for each, so that the slow ones get as many as the fast."""


def main() -> int:
    """Print a line for each target; return 1 when an input failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"default: all of {', '.join(TARGETS)}")
    parser.add_argument("--for", dest="for_s", type=float, default=60.0, metavar="SECONDS", help="in all (default: 60)")
    parser.add_argument(
        "--seed", type=int, default=secrets.randbits(32), help="repeats an earlier run (default: random)"
    )
    given = parser.parse_args()
    unknown = [name for name in given.targets if name not in TARGETS]
    if unknown or not 0 < given.for_s <= _LONGEST_S:
        parser.error(f"there is no {unknown[0]!r}; see --help" if unknown else "--for is a time from 0 to a day")
    chosen = given.targets or list(TARGETS)
    sys.stdout.write(f"seed {given.seed}\n")
    fuzzers = {name: Fuzzer(TARGETS[name], given.seed) for name in chosen}
    end_s = time.monotonic() + given.for_s
    while time.monotonic() < end_s and not all(one.found.failure for one in fuzzers.values()):
        for fuzzer in fuzzers.values():
            fuzzer.go_on(_TURN_INPUTS, end_s)
    tried = sum(one.found.tried for one in fuzzers.values())
    failed = any(one.found.failure for one in fuzzers.values())
    for name, found in ((name, one.found) for name, one in fuzzers.items()):
        end = f"FAILED {found.failure} on {found.smallest!r}" if found.failure else "none failed"
        sys.stdout.write(
            f"{name:<16} {found.tried:>9,} inputs {len(found.kept):>5} kept {len(found.steps):>5} steps, {end}\n"
        )
    sys.stdout.write(f"{tried:,} inputs\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
