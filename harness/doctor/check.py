"""What a check is: a question about the machine as data, and what came of looking."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from harness.doctor.system import System
from harness.doctor_schema import State


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look has found."""

    state: State
    found: str
    mend: str | None = None
    """A line for a root shell; None where there is nothing to mend, or no command can."""
    device: str | None = None
    """Which network device it is about."""


def ok(found: str) -> Finding:
    """Say that it is as it should be."""
    return Finding("ok", found)


def warning(found: str, mend: str | None = None) -> Finding:
    """Say that figures may waver, or cannot be compared with those of other machines."""
    return Finding("warning", found, mend)


def problem(found: str, mend: str | None = None) -> Finding:
    """Say that figures will be wrong, or a run will fail."""
    return Finding("problem", found, mend)


def unknown(found: str, mend: str | None = None) -> Finding:
    """Say that it cannot be told here, which is not that all is well."""
    return Finding("unknown", found, mend)


@dataclass(frozen=True, slots=True)
class Check:
    """One setting that spoils measurements."""

    id: str
    """Stays the same from version to version, as in ``cpu.governor``."""
    title: str
    right: str
    """What it should be, in words."""
    why: str
    """What it does to figures, in one line."""
    look: Callable[[System], Finding | Iterator[Finding]]
    """Several findings where there are several devices."""

    def findings(self, system: System) -> list[Finding]:
        """Look at a machine."""
        found = self.look(system)
        return [found] if isinstance(found, Finding) else list(found)


@dataclass(frozen=True, slots=True)
class Area:
    """Checks that are shown together."""

    title: str
    checks: Sequence[Check]
