"""Tables as CSV (RFC 4180): UTF-8, a line with the names first, an empty field where there is no figure.

Texts are what the run has, character by character. So one that begins with ``=``, ``+``, ``-`` or ``@`` is a formula to
a spreadsheet that takes columns for anything but text; ours never begin like that, another program's last words may.
"""

import csv
import io
from typing import Any, BinaryIO

import msgspec

from harness.export.columns import Kind
from harness.export.tables import Table


def write(table: Table, stream: BinaryIO) -> None:
    """Write a table, row by row. Raises OSError."""
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
    try:
        rows = csv.writer(text)
        rows.writerow([column.name for column in table.columns])
        for row in table.rows:
            rows.writerow([_field(column.kind, column.value(row)) for column in table.columns])
        text.flush()
    finally:
        text.detach()


def _field(kind: Kind, value: Any) -> Any:
    if value is None:
        return ""
    if kind == "boolean":
        return "true" if value else "false"
    return msgspec.json.encode(value).decode() if kind == "integers" else value
