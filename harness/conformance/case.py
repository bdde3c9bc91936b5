"""Cases as data: what each checks, and what it finds ready when it begins."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.conformance.setting import BackendKind
from harness.conformance.subject import Subject

Check = Callable[[Subject], None]
"""Raises ContractViolation; RequirementMissing when the machine does not allow the check."""
CheckOfMode = Callable[[Subject, str], None]
"""Likewise, of a listen mode."""

ServerKind = Literal["shared", "own", "none"]
"""Which server is running when a case begins: one that other cases use too, one of its own, or none."""


@dataclass(frozen=True, slots=True)
class Case:
    """One obligation of CONTRACT.md, or one variant of it."""

    id: str
    title: str
    check: Check
    flags: tuple[str, ...] = ()
    backends: tuple[BackendKind, ...] = ()
    """What follows ``-x``; empty in server mode."""
    workers: int | None = 1
    """The ``-w`` of the server that is running; None leaves the flag out."""
    server: ServerKind = "shared"
    variant: str = ""
    """What tells it from other cases of the same id."""

    @property
    def test_id(self) -> str:
        """The id with the variant, as in ``HALF-CLOSE[-k]``."""
        return f"{self.id}[{self.variant}]" if self.variant else self.id

    @property
    def server_flags(self) -> tuple[str, ...]:
        """The flags of the server that is running, without addresses."""
        return self.flags if self.workers is None else ("-w", str(self.workers), *self.flags)


class Section:
    """A section of CONTRACT.md; collects the cases of a file in the order in which they stand there."""

    def __init__(self) -> None:
        self.cases: list[Case] = []

    def case(
        self,
        id: str,  # noqa: A002  what the contract calls it
        title: str,
        *,
        flags: tuple[str, ...] = (),
        backends: tuple[BackendKind, ...] = (),
        workers: int | None = 1,
        server: ServerKind = "shared",
        variants: Sequence[str] = ("",),
        name: str = "",
    ) -> Callable[[Check], Check]:
        """Make a case of the function that follows, one for each variant: these are flags that are added.

        ``name`` tells it from cases of the same id with another function.
        """

        def add(check: Check) -> Check:
            for variant in variants:
                all_flags = (*flags, *variant.split())
                label = " ".join(filter(None, (name, variant)))
                self.cases.append(Case(id, title, check, all_flags, backends, workers, server, label))
            return check

        return add

    def case_in_modes(
        self,
        id: str,  # noqa: A002  what the contract calls it
        title: str,
        modes: Sequence[str],
        *,
        name: str = "",
    ) -> Callable[[CheckOfMode], CheckOfMode]:
        """Make a case for each listen mode of the function that follows, which starts its servers itself."""

        def add(check: CheckOfMode) -> CheckOfMode:
            for mode in modes:
                label = f"{name} --listen {mode}".strip()
                self.cases.append(Case(id, title, _in_mode(check, mode), server="none", variant=label))
            return check

        return add


def _in_mode(check: CheckOfMode, mode: str) -> Check:
    return lambda subject: check(subject, mode)


WITH_AND_WITHOUT_KEEPALIVE = ("", "-k")
