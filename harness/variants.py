"""Variants of an implementation: what follows its name in tables and files, and what it is then started with.

``epoll_raw+percpu+fastsocket+lean`` is epoll_raw with ``--listen percpu --lean``, and with the library in LD_PRELOAD
that ``--preload`` calls fastsocket.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from harness.errors import BadInput
from harness.schema import Library

ListenMode = Literal["shared", "exclusive", "reuseport", "percpu"]
"""The values of ``--listen`` in CONTRACT.md."""
LISTEN_MODES: Final[tuple[ListenMode, ...]] = get_args(ListenMode)
DEFAULT: Final = LISTEN_MODES[0]
"""The listen mode that no name says."""
_LEAN = "lean"
PARTS: Final = (*LISTEN_MODES[1:], _LEAN)
"""What may follow a name, each behind a ``+``, in this order."""
RESERVED: Final = frozenset({*LISTEN_MODES, _LEAN})
"""What no library may be called, as it would be taken for this."""


@dataclass(frozen=True, slots=True)
class Variant:
    """What an implementation is started with beside what a cell asks for."""

    listen_mode: ListenMode = DEFAULT
    preload: Library | None = None
    lean: bool = False

    @property
    def suffix(self) -> str:
        """What follows the name; an empty text for the plain one."""
        mode = [] if self.listen_mode == DEFAULT else [self.listen_mode]
        library = [] if self.preload is None else [self.preload.name]
        return "".join(f"+{part}" for part in (*mode, *library, *([_LEAN] if self.lean else [])))

    @property
    def flags(self) -> tuple[str, ...]:
        """What follows its command."""
        listen = () if self.listen_mode == DEFAULT else ("--listen", self.listen_mode)
        return (*listen, *(("--lean",) if self.lean else ()))


PLAIN: Final = Variant()


@dataclass(frozen=True, slots=True)
class Axes:
    """The variants in which each implementation is to run; by default as it is named."""

    listen_modes: Sequence[ListenMode] = ()
    """None: as named."""
    preloads: Sequence[Library] = ()
    """Each makes one more of every variant that there is without."""
    lean: bool = False
    """Whether there is one more of each with ``--lean``."""

    def __post_init__(self) -> None:
        """Raise BadInput for two libraries of one name."""
        names = [library.name for library in self.preloads]
        for name in names:
            if names.count(name) > 1:
                raise BadInput(
                    f"--preload {name!r}: the name is given twice; give LIBRARY=PATH with one of its own for each"
                )

    def variants(self, name: str, named: Variant, *, has_listen_modes: bool = True) -> Iterator[Variant]:
        """Yield those of an implementation that was named as ``named``; ``name`` is how to call it.

        Raises BadInput when what an option is about is in the name already.
        """
        if named.listen_mode != DEFAULT and self.listen_modes:
            raise BadInput(f"{name}: --listen says in which modes all run; leave +{named.listen_mode} out")
        if named.lean and self.lean:
            raise BadInput(f"{name}: --lean adds the lean one to each; leave +{_LEAN} out")
        modes = self.listen_modes if has_listen_modes and self.listen_modes else (named.listen_mode,)
        for mode in modes:
            for library in (None, *self.preloads):
                for lean in (False, True) if self.lean else (named.lean,):
                    yield Variant(mode, library, lean)


def split(name: str, preload: Library | None = None) -> tuple[str, Variant]:
    """Divide ``epoll_raw+percpu`` into the implementation's name and the variant; ``preload`` may be part of it.

    Raises BadInput.
    """
    plain, *parts = name.split("+")
    library = preload if preload is not None and preload.name in parts else None
    variant = Variant(_listen_mode(parts), library, _LEAN in parts)
    if DEFAULT in parts:
        raise BadInput(f"{name!r}: a name by itself stands for --listen {DEFAULT}; leave +{DEFAULT} out")
    if plain + variant.suffix != name:
        raise BadInput(f"{name!r}: what may follow a name is {', '.join(f'+{part}' for part in PARTS)}, in this order")
    return plain, variant


def _listen_mode(parts: Sequence[str]) -> ListenMode:
    return next((mode for mode in LISTEN_MODES[1:] if mode in parts), DEFAULT)
