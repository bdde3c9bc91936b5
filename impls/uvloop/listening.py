"""Accepting connections on the worker's listeners, for both modes."""

import asyncio
from collections.abc import Callable
from typing import Any

from impls.contract import BACKLOG
from impls.worker import Worker


async def listen(worker: Worker, connect: Callable[[], asyncio.BaseProtocol]) -> None:
    """Accept for ever, with a protocol made by ``connect`` for each connection."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_give_up)
    for listener in worker.listeners:
        # uvloop calls listen(2) once more; left to its default, that would cut the backlog to 100.
        await loop.create_server(connect, sock=listener, backlog=BACKLOG)
    await loop.create_future()


def _give_up(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an exception that a callback let through, and end the worker: asyncio would go on as if nothing had been."""
    loop.default_exception_handler(context)
    loop.stop()
