"""The body lacks a byte, and Content-Length agrees with what is there."""

from impls import contract
from tests.fakes._alter import replace, run

REJECTED_BY = {"REPLY-BYTES"}


def main() -> None:
    for name in ("REPLY_CLOSE", "REPLY_KEEP_ALIVE"):
        reply: bytes = getattr(contract, name)
        replace(contract, name, reply[:-1].replace(b"Length: 63", b"Length: 62"))
    run()


if __name__ == "__main__":
    main()
