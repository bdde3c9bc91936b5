"""Which hosts and CPUs play client, server and backend."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal

from harness.errors import BadInput
from harness.schema import TestbedName
from harness.testbed import flow_steering, netns
from harness.testbed.host import Host, Testbed
from harness.testbed.loopback import Loopback

__all__ = ["Choice", "Host", "Testbed", "foreseen", "open_testbed"]

Choice = Literal["auto", "loopback", "netns"]


@contextmanager
def open_testbed(choice: Choice, *, with_backend: bool, rfs: bool = False) -> Iterator[Testbed]:
    """Make a testbed, and remove it in the end; ``auto`` takes netns where it can be made, else loopback.

    ``rfs`` is netns with receive flow steering (``flow_steering.py``). Raises BadInput when what is asked for cannot be
    made.
    """
    _check_rfs(choice, rfs=rfs)
    if choice == "loopback":
        yield Loopback()
        return
    if rfs:
        flow_steering.check()
    with ExitStack() as stack:
        made = _netns_or_loopback(stack, "netns" if rfs else choice, with_backend=with_backend)
        if rfs and isinstance(made, netns.Netns):
            flow_steering.switch_on(stack, made)
        yield made


def foreseen(choice: Choice, *, rfs: bool = False) -> tuple[TestbedName, tuple[str, ...]]:
    """Tell which testbed ``open_testbed`` would make, and notes on it, without trying. Raises BadInput as that does."""
    _check_rfs(choice, rfs=rfs)
    if choice == "loopback":
        return "loopback", ()
    if choice == "netns" or rfs:
        return "netns", ("whether network namespaces can be made here was not tried",)
    return "netns", ("auto takes netns where network namespaces can be made, else loopback, which was not tried",)


def _check_rfs(choice: Choice, *, rfs: bool) -> None:
    if rfs and choice == "loopback":
        raise BadInput("--rfs: loopback receives where it was sent; give --testbed netns, or leave --rfs out")


def _netns_or_loopback(stack: ExitStack, choice: Choice, *, with_backend: bool) -> Testbed:
    try:
        made = stack.enter_context(netns.build(with_backend=with_backend))
    except netns.CannotBuild as problem:
        if choice == "netns":
            raise BadInput(
                f"--testbed netns: network namespaces cannot be made here: {problem}; "
                "be root, or allow users to make them (sysctl user.max_user_namespaces), or give --testbed loopback"
            ) from problem
        return Loopback((f"auto took loopback: network namespaces cannot be made here: {problem}",))
    if choice == "auto":
        made.notes = ("auto took netns: each host has a network namespace of its own", *made.notes)
    return made
