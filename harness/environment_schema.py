"""What a run was measured on, as far as it bears on the figures: the type of environment.json.

Every field has a default, so that files of version 1, which have fewer, are read too. Null stands for what could not
be read.
"""

from typing import Annotated, Literal

import msgspec

from harness.schema import Count, CpuNumber

SinceStart = Annotated[int, msgspec.Meta(ge=0)]
"""Nanoseconds, without a bound: a thousand CPUs have more in some months than 64 bits hold."""


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Machine, kernel, settings and software at one moment."""

    schema: Literal[1, 2] = 1
    """Files of version 1 do not say theirs."""
    time_utc: str | None = None
    kernel: str | None = None
    """Its release."""
    kernel_options: dict[str, str] = {}
    """Those of the kernel's command line that bear on speed, such as ``mitigations``."""
    vulnerabilities: dict[str, str | None] = {}
    """What the kernel does about each; the names are those of /sys/devices/system/cpu/vulnerabilities."""
    architecture: str | None = None
    cpu_model: str | None = None
    cpus_online: Count | None = None
    cpus_allowed: tuple[CpuNumber, ...] = ()
    """Those that the run could use."""
    governor: str | None = None
    """Of all CPUs together, such as ``performance`` or ``performance (CPU 0-3), powersave (CPU 4-7)``."""
    turbo: bool | None = None
    """Whether CPUs may go beyond their nominal frequency."""
    smt_active: bool | None = None
    """Whether two CPUs are hyper-threads of one core."""
    smt_control: str | None = None
    clocksource: str | None = None
    transparent_hugepages: str | None = None
    virtual: bool | None = None
    """Whether the machine is a virtual one."""
    product_name: str | None = None
    """What the firmware calls the machine."""
    memory_bytes: Count | None = None
    sysctls: dict[str, str | None] = {}
    python: str | None = None
    libraries: dict[str, str | None] = {}
    """Versions, those of the servers included; null for one that is not installed."""
    revision: str | None = None
    """The commit that ran; in version 1 with ``+`` behind it when files had been changed."""
    dirty: bool | None = None
    """Whether files had been changed since the commit."""
    load_average: tuple[float, ...] = ()
    """Of the last minute, five and fifteen."""
    cpu_time_ns: SinceStart | None = None
    """Time of all CPUs since the machine was started, busy or not, from 10 ms ticks."""
    cpu_steal_ns: SinceStart | None = None
    """The part of it that the host gave to others."""

    @property
    def commit(self) -> str | None:
        """The revision, with ``+`` behind it when files had been changed."""
        return f"{self.revision}+" if self.revision and self.dirty else self.revision
