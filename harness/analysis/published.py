"""Figures of others that ours stand beside: of other hardware, kernels and servers, so no ratio is taken to them."""

from collections.abc import Mapping
from typing import Final

from harness.schema import Workload

CORES: Final = 24
SOURCE: Final = "the README of Fastsocket"
"""Of github.com/fastos/fastsocket: all figures but the paper's."""
THROUGHPUTS_RPS: Final[Mapping[Workload, Mapping[str, int]]] = {
    "short": {"Fastsocket": 475_000, "Linux 3.13": 283_000, "Linux 2.6.32": 159_000}
}
"""Connections a second of nginx on CORES cores, with 500 connections at a time for each core."""
FASTSOCKET_SPEED_UP: Final = 21.0
"""Of Fastsocket on CORES cores, to one."""
PAPER: Final = '"Scalable Kernel TCP Design and Implementation for Short-Lived Connections", ASPLOS 2016'
PAPER_SPEED_UP: Final = 20.4
"""The same, as the abstract of the paper has it."""
