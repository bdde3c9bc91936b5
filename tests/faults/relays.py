"""Running proxies for tests: one of each implementation and way of working, shared by all that is tried on it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import processes
from harness.conformance.backend import Call, called
from harness.conformance.connection import Connection, connected
from harness.conformance.setting import Setting, opened
from harness.registry import Implementation
from tests.held_worker import TIMEOUT_S


@dataclass(frozen=True, slots=True)
class Relay:
    """A proxy with one worker, and its backend, which the test plays."""

    setting: Setting
    worker_pid: int
    keepalive: bool

    @contextmanager
    def client(self, *, small_buffers: bool = False) -> Iterator[tuple[Connection, Call]]:
        """Connect a client, and prepare the call that its request will reach the backend as."""
        with (
            called(self.setting.live) as call,
            connected(self.setting.server.listen[0], small_buffers=small_buffers) as client,
        ):
            yield client, call


Relays = Callable[[Implementation, tuple[str, ...]], Relay]


@contextmanager
def running_relays(directory: Path) -> Iterator[Relays]:
    """Give out proxies by implementation and flags, and end all of them."""
    made: dict[tuple[str, ...], Relay] = {}
    with ExitStack() as stack:

        def relay(impl: Implementation, flags: tuple[str, ...]) -> Relay:
            key = (impl.name, *flags)
            if key not in made:
                name = "".join(key)
                setting = stack.enter_context(opened(impl, ["-w", "1", *flags], ["live"], directory, name))
                server = setting.server
                assert processes.wait_until(lambda: len(server.worker_pids()) == 1, TIMEOUT_S)
                made[key] = Relay(setting, server.worker_pids()[0], "-k" in flags)
            return made[key]

        yield relay
