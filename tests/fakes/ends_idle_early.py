"""Of many connections that say nothing one is closed long before ``--idle-timeout``, and soon another."""

import dataclasses

from impls.epoll_raw.rare import Rare
from impls.epoll_raw.server import serve
from impls.worker import Worker
from tests.fakes._alter import replace, run

REJECTED_BY = {"IDLE"}
PERHAPS_BY = {"MANY-1000"}  # on a busy machine this holds silent connections for as long
LIMIT_S = 0.6
MANY = 40
"""So many are one case's, but for a few that others on the same server are late to use. So the one in the middle, by
age, is that case's."""


def hurry(worker: Worker) -> None:
    def end_one_of_many(rare: Rare, now_s: float) -> None:
        silent_since_s = now_s - rare._looks.limit_s
        silent = [fd for fd, s in rare.accepted_s.items() if s <= silent_since_s and fd not in rare.moved_s]
        if len(silent) >= MANY:
            rare.close(silent[len(silent) // 2])
        rare._looks.looked(now_s, now_s, soon=True)

    if not worker.options.backends:
        replace(Rare, "_end_idle", end_one_of_many)
        worker = dataclasses.replace(worker, options=dataclasses.replace(worker.options, idle_timeout_s=LIMIT_S))
    serve(worker)


if __name__ == "__main__":
    run(hurry)
