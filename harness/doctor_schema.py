"""What ``harness doctor --json`` writes."""

from typing import Literal

import msgspec

from harness.schema import SCHEMA, Count, CpuNumber, TestbedName

State = Literal["ok", "warning", "problem", "unknown"]
"""``unknown``: cannot be told here, which is not that all is well."""


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one check, on one device where it is about devices."""

    id: str
    """Stays the same from version to version, as in ``cpu.governor``."""
    area: str
    title: str
    device: str | None = None
    state: State
    found: str
    why: str
    """What the setting does to figures."""
    mend: str | None = None
    """A line for a root shell; null where there is nothing to mend, or no command can."""


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of a machine at one moment, for one placement of server, client and backend."""

    schema: Literal[2] = SCHEMA
    time_utc: str
    kernel: str
    is_root: bool
    testbed: TestbedName
    """What ``harness compare`` would take."""
    server_cpus: tuple[CpuNumber, ...]
    client_cpus: tuple[CpuNumber, ...]
    backend_cpus: tuple[CpuNumber, ...]
    devices: tuple[str, ...]
    """The network devices that were looked at."""
    problems: Count
    warnings: Count
    unknown: Count
    checks: tuple[Looked, ...]
