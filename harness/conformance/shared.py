"""Servers that cases with the same flags share: started at first use, replaced when they are no longer fit."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGTERM
from typing import Self

from harness.conformance.setting import BackendKind, Setting, opened
from harness.registry import Implementation
from harness.servers import STOP_TIMEOUT_S, ServerFailed


@dataclass(slots=True)
class Shared:
    """A server, and who uses it."""

    setting: Setting
    stack: ExitStack
    """Ends it."""
    users: int = 0
    fit: bool = True
    """No case has failed on it."""


@dataclass(slots=True)
class _Slot:
    """The place of all servers with the same flags, of which one at a time is given out."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    current: Shared | None = None
    failure: ServerFailed | None = None


class SharedServers:
    """The shared servers of one implementation; several threads may use them."""

    def __init__(self, implementation: Implementation, directory: Path) -> None:
        self._implementation = implementation
        self._directory = directory
        self._lock = threading.Lock()
        self._slots: dict[tuple[object, ...], _Slot] = {}
        self._started = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        running = [slot.current for slot in self._slots.values() if slot.current is not None]
        with ExitStack() as all_stacks:
            for shared in running:
                shared.setting.server.send_signal(SIGTERM)  # so that all end at the same time
                all_stacks.push(shared.stack)
            deadline_s = time.monotonic() + STOP_TIMEOUT_S
            for shared in running:
                shared.setting.server.stop(timeout_s=max(0.0, deadline_s - time.monotonic()))

    @contextmanager
    def use(self, flags: tuple[str, ...], backends: tuple[BackendKind, ...]) -> Iterator[Shared]:
        """Use the server with these flags, beside others. Raises ServerFailed, each time, when it does not start."""
        with self._lock:
            slot = self._slots.setdefault((flags, backends), _Slot())
        with slot.lock:
            shared = slot.current
            if shared is None or not shared.fit or shared.setting.server.died or shared.setting.lost():
                self._discard(slot)
                shared = slot.current = self._start(slot, flags, backends)
            shared.users += 1
        try:
            yield shared
        finally:
            with slot.lock:
                shared.users -= 1
                if shared is not slot.current and not shared.users:
                    shared.stack.close()

    def _discard(self, slot: _Slot) -> None:
        """Give a server out no more; it ends when the last of its users does."""
        discarded, slot.current = slot.current, None
        if discarded is not None and not discarded.users:
            discarded.stack.close()

    def _start(self, slot: _Slot, flags: tuple[str, ...], backends: tuple[BackendKind, ...]) -> Shared:
        if slot.failure is not None:
            raise slot.failure
        with self._lock:
            self._started += 1
            name = f"shared-{self._started}"
        with ExitStack() as stack:
            try:
                setting = stack.enter_context(opened(self._implementation, flags, backends, self._directory, name))
            except ServerFailed as failure:
                slot.failure = failure
                raise
            return Shared(setting, stack.pop_all())
