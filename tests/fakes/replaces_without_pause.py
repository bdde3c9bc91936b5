"""A worker that dies at once is replaced without a pause."""

from impls import supervisor
from tests.fakes._alter import replace, run

REJECTED_BY = {"PROC-GIVE-UP"}

if __name__ == "__main__":
    replace(supervisor, "FIRST_PAUSE_S", 0.0)
    run()
