"""What the user of tune asked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.nic import rules
from harness.tune import plan, state

Action = Literal["show", "apply", "revert"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked for."""

    device: str
    action: Action = "show"
    cpus: tuple[int, ...] | None = None
    """None: all that are online."""
    rfs: bool = False
    usecs: int = rules.USECS
    leave: frozenset[plan.Part] = frozenset()
    state: Path | None = None
    """Where what was is kept; None: where it is by default."""

    @property
    def path(self) -> Path:
        """Where what was is kept."""
        return self.state or state.default_path(self.device)
