"""A backend that failed is tried again by the next connection."""

from impls.backends import Backends
from tests.fakes._alter import replace, run

REJECTED_BY = {"PROXY-LEFT-OUT", "PROXY-ALL-OUT"}


def main() -> None:
    replace(Backends, "failed", lambda *_: None)
    run()


if __name__ == "__main__":
    main()
