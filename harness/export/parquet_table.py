"""Tables as Parquet: typed, null where there is no figure, and the run's plan as JSON in the file's metadata."""

from itertools import islice
from typing import Any, BinaryIO, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from harness.export.columns import Kind
from harness.export.tables import Table

PLAN_KEY: Final = b"percore.plan"
"""Where in the metadata the plan stands."""
_ROWS_AT_A_TIME = 10_000
"""So many are held in memory."""
_TYPES: dict[Kind, Any] = {
    "text": pa.string(),
    "json": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "integers": pa.list_(pa.int64()),
}


def write(table: Table, stream: BinaryIO) -> None:
    """Write a table, some thousand rows at a time. Raises OSError."""
    schema = pa.schema(
        [(column.name, _TYPES[column.kind]) for column in table.columns],
        metadata={PLAN_KEY: msgspec.json.encode(table.plan)},
    )
    rows = iter(table.rows)
    with pq.ParquetWriter(stream, schema) as writer:
        while several := list(islice(rows, _ROWS_AT_A_TIME)):
            values = [pa.array([column.value(row) for row in several], _TYPES[column.kind]) for column in table.columns]
            writer.write_batch(pa.record_batch(values, schema=schema))
