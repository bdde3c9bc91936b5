"""How a fake is made: the reference implementation with one thing altered."""

from typing import NoReturn

from impls.epoll_raw.server import serve
from impls.prefork import main
from impls.worker import Serve


def replace(owner: object, name: str, new: object) -> None:
    """Alter an attribute of a module or class for the rest of this process."""
    if not hasattr(owner, name):
        raise AttributeError(f"{owner!r} has no {name!r} any more: the fake would break nothing")
    setattr(owner, name, new)


def run(altered: Serve = serve, *, exclusive: bool = False) -> NoReturn:
    """Run as an implementation does; the listen mode ``exclusive`` is refused unless it is what is broken."""
    main("epoll_raw", altered, "one thing that is broken", exclusive=exclusive)
