"""An exchange, as client and backend know it: both are in this process, so a fault is known by whom it was done to."""

import time
from dataclasses import dataclass, field
from typing import Literal

from harness.torture.script import Script, Stage
from harness.torture.way import Way

End = Literal["end", "reset", "none"]
Cut = Literal["ended", "reset", "silent", "died"]
"""What a backend did to an exchange instead of completing it."""


@dataclass(slots=True, eq=False)
class Carrier:
    """A client's connection, and what has been done to it by others."""

    endpoint: tuple[str, int]
    """The client's."""
    worker_killed: bool = False
    """Its worker was killed while it was open."""
    backend_died: bool = False
    """The backend at its other end died between two of its exchanges."""


@dataclass(slots=True, eq=False)
class Exchange:
    """One request, and what came of it."""

    identity: bytes
    way: Way
    script: Script
    request: bytes
    reply: bytes
    """What a complete reply is, byte for byte."""
    carrier: Carrier | None = None
    began_s: float = field(default_factory=time.monotonic)
    ended_s: float = 0.0
    # At the client:
    received: int = 0
    """Bytes of the reply that came, all of them right."""
    wrong: str = ""
    """What was wrong about a byte, at the client or at the backend."""
    own_reply: bytes = b""
    """What the proxy answered by itself."""
    end: End = "none"
    sent_all: bool = False
    reset_done: Stage | None = None
    problem: str = ""
    """What kept the client from going on."""
    # At the backend:
    reached_backend: bool = False
    cut: Cut | None = None
    cut_after: int = 0
    """How many bytes of the reply the backend had sent for certain by then."""
