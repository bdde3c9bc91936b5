"""The backlog asked for is the usual 128."""

from impls import listeners
from tests.fakes._alter import replace, run

REJECTED_BY = {"LISTEN-BACKLOG"}


def main() -> None:
    replace(listeners, "BACKLOG", 128)
    run()


if __name__ == "__main__":
    main()
