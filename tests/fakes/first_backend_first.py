"""Every connection goes to the first backend that is not left out."""

from impls.backends import Backends
from tests.fakes._alter import replace, run

REJECTED_BY = {"PROXY-ROUND-ROBIN"}


def main() -> None:
    turn = Backends.turn

    def same_order(backends: Backends[object]) -> tuple[object, ...]:
        backends._next = 0
        return turn(backends)

    replace(Backends, "turn", same_order)
    run()


if __name__ == "__main__":
    main()
