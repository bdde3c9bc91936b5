"""Variants of an implementation: what follows its name in tables and files, and the flags it is then started with.

``epoll_raw+percpu+lean`` is epoll_raw with ``--listen percpu --lean``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from harness.errors import BadInput

ListenMode = Literal["shared", "exclusive", "reuseport", "percpu"]
"""The values of ``--listen`` in CONTRACT.md."""
LISTEN_MODES: Final[tuple[ListenMode, ...]] = get_args(ListenMode)
DEFAULT: Final = LISTEN_MODES[0]
"""The listen mode that no name says."""
_LEAN = "lean"
PARTS: Final = (*LISTEN_MODES[1:], _LEAN)
"""What may follow a name, each behind a ``+``, in this order."""


@dataclass(frozen=True, slots=True)
class Variant:
    """What an implementation is started with beside what a cell asks for."""

    listen_mode: ListenMode = DEFAULT
    lean: bool = False

    @property
    def suffix(self) -> str:
        """What follows the name; an empty text for the plain one."""
        parts = [*([] if self.listen_mode == DEFAULT else [self.listen_mode]), *([_LEAN] if self.lean else [])]
        return "".join(f"+{part}" for part in parts)

    @property
    def flags(self) -> tuple[str, ...]:
        """What follows its command."""
        listen = () if self.listen_mode == DEFAULT else ("--listen", self.listen_mode)
        return (*listen, *(("--lean",) if self.lean else ()))


def split(name: str) -> tuple[str, Variant]:
    """Divide ``epoll_raw+percpu`` into the implementation's name and the variant. Raises BadInput."""
    plain, *parts = name.split("+")
    variant = Variant(_listen_mode(parts), _LEAN in parts)
    if plain + variant.suffix != name:
        raise BadInput(f"{name!r}: what may follow a name is {', '.join(f'+{part}' for part in PARTS)}, in this order")
    return plain, variant


def _listen_mode(parts: Sequence[str]) -> ListenMode:
    return next((mode for mode in LISTEN_MODES[1:] if mode in parts), DEFAULT)
