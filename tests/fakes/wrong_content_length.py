"""Content-Length says one byte less than there is."""

from impls import contract
from tests.fakes._alter import replace, run

REJECTED_BY = {"REPLY-LENGTH"}


def main() -> None:
    replace(contract, "REPLY_CLOSE", contract.REPLY_CLOSE.replace(b"Length: 63", b"Length: 62"))
    run()


if __name__ == "__main__":
    main()
