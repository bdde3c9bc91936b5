"""With ``--listen exclusive`` all workers are woken for a connection all the same."""

import select

from tests.fakes._alter import replace, run

REJECTED_BY = {"LISTEN-EXCLUSIVE"}

if __name__ == "__main__":
    replace(select, "EPOLLEXCLUSIVE", 0)
    run(exclusive=True)
