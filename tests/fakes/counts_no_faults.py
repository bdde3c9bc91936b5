"""What went wrong is not counted: the lines say 0."""

from impls import counters
from tests.fakes._alter import run

REJECTED_BY = {"STAT-FAULTS", "LOG-FULL"}

if __name__ == "__main__":
    for kind in ("idle", "full", "backend_out", "no_backend", "log", "restarts"):
        counters.ERRORS[kind] = counters.ROW_BYTES // 8 - 1
    run()
