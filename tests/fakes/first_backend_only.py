"""Every connection goes to the first backend, and no other is tried when that refuses."""

from impls.backends import Backends
from tests.fakes._alter import replace, run

REJECTED_BY = {"PROXY-COUNTED", "PROXY-LEFT-OUT", "PROXY-LOGGED", "PROXY-NEXT-BACKEND", "PROXY-ROUND-ROBIN"}


def main() -> None:
    turn = Backends.turn

    def first_alone(backends: Backends[object]) -> tuple[object, ...]:
        backends._next = 0
        return turn(backends)[:1]

    replace(Backends, "turn", first_alone)
    run()


if __name__ == "__main__":
    main()
