"""The processes change the user, and keep the groups of who started them."""

import os

from tests.fakes._alter import replace, run

REJECTED_BY = {"CLI-USER"}


def keep(*_: object) -> None:
    """Leave the groups as they are."""


if __name__ == "__main__":
    replace(os, "initgroups", keep)
    replace(os, "setresgid", keep)
    run()
