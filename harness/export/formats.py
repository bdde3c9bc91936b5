"""What can be asked for: formats and tables."""

from pathlib import Path
from typing import Final, Literal

Format = Literal["csv", "parquet", "openmetrics"]
TableName = Literal["summary", "slices", "scaling", "profile"]
STDOUT: Final = Path("-")
"""Stands for standard output."""
