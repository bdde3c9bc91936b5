"""Bad input ends in exit status 1."""

import sys

from tests.fakes._alter import run

REJECTED_BY = {"CLI-BAD-INPUT", "CLI-PORT-IN-USE", "CLI-NOT-LOCAL", "CLI-PRIVILEGE", "CLI-LOG"}

if __name__ == "__main__":
    try:
        run()
    except SystemExit as ended:
        sys.exit(1 if ended.code else 0)
