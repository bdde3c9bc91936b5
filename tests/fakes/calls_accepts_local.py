"""All of the clients' connections that are asked count as local, wherever their packets arrive."""

from impls import counters
from tests.fakes._alter import replace, run

REJECTED_BY = {"STAT-LOCALITY"}

if __name__ == "__main__":
    replace(counters, "LOCAL_ACCEPTS", counters.SAMPLED_ACCEPTS)
    run()
