"""Programs that some commands drive."""

import functools
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from harness.cost import tracer
from harness.doctor.check import Area, Check, Finding, ok, warning
from harness.doctor.system import System
from harness.loadgen.witnesses import WITNESSES
from harness.peers import PEERS
from harness.peers.peer import SYSTEM_PATH
from harness.profile import perf


@dataclass(frozen=True, slots=True)
class Tool:
    """A program, what it is for, and what brings it on Debian."""

    name: str
    package: str
    purpose: str


TOOLS: Final = (
    *(
        Tool(name, witness.package, f"compare --client {name} and crosscheck cannot load with it")
        for name, witness in WITNESSES.items()
    ),
    Tool("perf", perf.PACKAGE, "profile cannot show where the core goes, nor cost count instructions"),
    Tool("strace", tracer.PACKAGE, "cost cannot count system calls"),
    *(Tool(name, peer.package, f"the peer {name} cannot be compared") for name, peer in PEERS.items()),
    Tool("gcc", "gcc libc6-dev", "tests of --preload, which build a library, are skipped"),
)


def find_all() -> Mapping[str, str | None]:
    """Find each, on the PATH or where Debian puts servers."""
    return {tool.name: shutil.which(tool.name) or shutil.which(tool.name, path=SYSTEM_PATH) for tool in TOOLS}


def _look(tool: Tool, system: System) -> Finding:
    path = system.programs.get(tool.name)
    if path is None:
        return warning("is not installed", f"apt-get install -y {tool.package}")
    return ok(path)


AREA: Final = Area(
    "Programs",
    tuple(
        Check(f"tools.{tool.name}", tool.name, f"installed (Debian: {tool.package})", f"without it {tool.purpose}",
              functools.partial(_look, tool))
        for tool in TOOLS
    ),
)  # fmt: skip
