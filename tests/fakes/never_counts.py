"""Workers do not count requests."""

from impls import counters
from impls.epoll_raw.server import serve
from impls.worker import Worker
from tests.fakes._alter import replace, run

REJECTED_BY = {"STAT-TOTAL", "STAT-VERBOSE"}
UNUSED_SLOT = counters.ROW_BYTES // 8 - 1


def count_elsewhere(worker: Worker) -> None:
    replace(counters, "REQUESTS", UNUSED_SLOT)
    serve(worker)


if __name__ == "__main__":
    run(count_elsewhere)
