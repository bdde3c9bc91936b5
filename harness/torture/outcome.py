"""What came of torture."""

from dataclasses import dataclass, field

from harness.torture.ledger import Ledger

MEMORY_BOUND_BYTES = 4 * 1024 * 1024
"""How much more memory a process may have allocated in the end, than when it was quiet before."""


@dataclass(frozen=True, slots=True)
class Growth:
    """What a server has more of, in the end, than when it was quiet before."""

    server: str
    leaked: int
    """Descriptors, of all its processes together."""
    rss_bytes: int
    allocated_bytes: int


@dataclass(slots=True)
class Tortured:
    """The account, and what the servers were like in the end."""

    name: str
    seed: int
    ledger: Ledger
    growth: list[Growth] = field(default_factory=list)
    replaced_s: list[float] = field(default_factory=list)
    """How long it took to replace each worker that was killed."""
    interrupted: bool = False
    lasted_s: float = 0.0

    @property
    def leaked(self) -> int:
        """Descriptors that are open in the end and should not be."""
        return sum(one.leaked for one in self.growth)

    @property
    def stood(self) -> bool:
        """Whether nothing was lost, leaked or otherwise found."""
        swollen = any(one.allocated_bytes > MEMORY_BOUND_BYTES for one in self.growth)
        ledger = self.ledger
        return ledger.balanced and not (ledger.unexplained or ledger.findings or self.leaked or swollen)
