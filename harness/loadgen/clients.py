"""What makes the load: our own generator, ab or wrk, a process for each client CPU."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from harness.loadgen.client import Client
from harness.loadgen.control import Generator
from harness.loadgen.witnesses import WITNESSES
from harness.schema import Client as Name
from harness.testbed import Host


def start(stack: ExitStack, name: Name, cpus: Sequence[int], host: Host) -> list[Client]:
    """Start one on each CPU; they end with the stack."""
    return [stack.enter_context(_MAKERS[name](cpu, host)) for cpu in cpus]


_MAKERS: Mapping[Name, Callable[[int, Host], Client]] = {"builtin": Generator, **WITNESSES}
