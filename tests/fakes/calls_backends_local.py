"""All of the backends' connections that are asked count as local, wherever their packets arrive."""

from impls import counters
from tests.fakes._alter import replace, run

REJECTED_BY = {"STAT-LOCALITY"}

if __name__ == "__main__":
    replace(counters, "LOCAL_BACKENDS", counters.SAMPLED_BACKENDS)
    run()
