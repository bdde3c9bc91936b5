"""What ends a case early."""


class ContractViolation(Exception):  # noqa: N818  it is a finding about the server, not an error of the checker
    """The server does not do what the contract obliges it to."""

    def __init__(self, expected: str, seen: str) -> None:
        super().__init__(f"expected {expected}, got {seen}")
        self.expected = expected
        self.seen = seen


class TooLate(ContractViolation):
    """What is obliged was not there in the time that the contract allows; it may have come later."""


class RequirementMissing(Exception):  # noqa: N818  a fact about the machine
    """The machine lacks what the case needs, so there is no verdict; the text says what."""


def shown(data: bytes, limit: int = 60) -> str:
    """Write bytes so that they fit into a line of text."""
    return repr(data) if len(data) <= limit else f"{len(data)} bytes that begin with {data[:limit]!r}"
