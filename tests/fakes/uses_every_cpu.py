"""All CPUs of the machine count, those too that the process may not use."""

import os

from tests.fakes._alter import replace, run

REJECTED_BY = {"PROC-ALLOWED-CPUS"}
PERHAPS_BY = {"PROC-OVERSUBSCRIBE", "PROC-PINNED", "PROC-WORKERS"}  # where there are more than the tests use


if __name__ == "__main__":
    replace(os, "sched_getaffinity", lambda _: set(range(os.cpu_count() or 1)))
    run()
