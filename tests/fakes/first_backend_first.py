"""Every connection goes to the first backend."""

from impls.backends import Backends
from tests.fakes._alter import replace, run

REJECTED_BY = {"PROXY-ROUND-ROBIN"}


def main() -> None:
    def same_order(backends: Backends[object]) -> tuple[object, ...]:
        return backends._orders[0]

    replace(Backends, "turn", same_order)
    run()


if __name__ == "__main__":
    main()
