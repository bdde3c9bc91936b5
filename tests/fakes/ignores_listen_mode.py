"""All workers share one listener, whatever the listen mode."""

from impls.contract import Options
from tests.fakes._alter import replace, run

REJECTED_BY = {"LISTEN-SOCKETS"}

if __name__ == "__main__":
    replace(Options, "listeners_apart", property(lambda _: False))
    run()
