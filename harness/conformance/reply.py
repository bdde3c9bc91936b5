"""An HTTP reply taken apart, as a client does."""

from dataclasses import dataclass

from harness.conformance.violation import ContractViolation, shown

_BLANK_LINE = b"\r\n\r\n"
_MOST_DIGITS = 18


def head_length(data: bytes | bytearray) -> int:
    """Return how many bytes the head has, blank line included; 0 when it is not complete."""
    end = data.find(_BLANK_LINE)
    return 0 if end < 0 else end + len(_BLANK_LINE)


def _is_length(value: str) -> bool:
    """Tell whether this is a number; one of thousands of digits is none that int() takes."""
    return value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP reply."""

    raw: bytes
    status_line: str
    fields: tuple[tuple[str, str], ...]
    """Names and values as they came, in their order."""
    body: bytes

    @classmethod
    def parse(cls, raw: bytes, what: str) -> "Reply":
        """Take a reply apart that begins with a whole head. Raises ContractViolation with ``what`` was expected."""
        head = raw[: head_length(raw)].removesuffix(_BLANK_LINE)
        status_line, *lines = head.decode("latin-1").split("\r\n")
        fields = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
        if not status_line.startswith("HTTP/1.") or not all(name for name, _ in fields):
            raise ContractViolation(f"{what} in HTTP", shown(raw))
        return cls(raw, status_line, fields, raw[head_length(raw) :])

    @property
    def status(self) -> str:
        """The status code, as in ``200``."""
        return " ".join(self.status_line.split()[1:2])

    @property
    def content_length(self) -> int | None:
        """What Content-Length says; None when it is absent or no number."""
        for name, value in self.fields:
            if name.lower() == "content-length" and _is_length(value):
                return int(value)
        return None
