"""Fuzzes all that parses, guided by coverage, a target after the other: ``python -m tests.fuzz``, or ``make fuzz``."""

import argparse
import secrets
import sys

from tests.fuzz.guided import fuzz
from tests.fuzz.targets import TARGETS

_LONGEST_S = 86400.0


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
    tried, failed = 0, False
    for name in chosen:
        found = fuzz(TARGETS[name], given.seed, given.for_s / len(chosen))
        tried += found.tried
        failed |= bool(found.failure)
        end = f"FAILED {found.failure} on {found.smallest!r}" if found.failure else "none failed"
        sys.stdout.write(
            f"{name:<16} {found.tried:>9,} inputs {len(found.kept):>5} kept {len(found.steps):>5} steps, {end}\n"
        )
        sys.stdout.flush()
    sys.stdout.write(f"{tried:,} inputs\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
