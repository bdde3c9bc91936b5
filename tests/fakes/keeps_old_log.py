"""SIGHUP opens the log anew for the parent, and the workers write to the old one."""

from impls.orders import Superior
from tests.fakes._alter import replace, run

REJECTED_BY = {"LOG-REOPEN", "LOG-FULL"}


def main() -> None:
    replace(Superior, "use_log", lambda *_: None)
    run()


if __name__ == "__main__":
    main()
