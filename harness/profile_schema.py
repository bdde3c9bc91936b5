"""What profile.json holds: where the core goes in each implementation, with units in the fields' names."""

from typing import Literal

import msgspec

from harness.schema import SCHEMA, Count, CpuNumber, Estimate, Positive, Share, Workload


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What one kind of work takes. All parts of one list add up to all that the CPUs did, idle time included."""

    name: str
    us_per_request: Estimate
    """CPU time per correct reply."""
    share: Share
    """Of all samples."""
    samples: Count


class ImplementationProfile(msgspec.Struct, frozen=True, kw_only=True):
    """Where the core goes in one implementation."""

    impl: str
    turns: Count = 0
    requests: Count = 0
    """Correct replies."""
    offered: Count = 0
    """So many were due on average."""
    errors: Count = 0
    samples: Count = 0
    expected_samples: Count = 0
    """As many as there should be: frequency x CPUs x time. A virtual machine that waits for its CPU loses some."""
    us_per_request: Estimate = Estimate()
    """All that requests take: all but idle time, leaving it, other programs, and the kernel's threads."""
    process_us_per_request: Estimate = Estimate()
    """CPU time of the server's processes in the same turns, by the kernel's own account and not by samples."""
    within_others_share: Share | None = None
    """The share of that which interrupts did while another program had the CPU; they may have been that program's."""
    unsorted_share: Share | None = None
    """The share of that of which nobody can tell what it was: without a name, or in no rule."""
    categories: tuple[Part, ...] = ()
    """By what was done."""
    contexts: tuple[Part, ...] = ()
    """By on whose behalf: system calls by name, softirq, interrupts, the program's own code, …"""
    failure: str = ""
    """Why there are no more turns, where it has ended."""


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is claimed of a profile; the report is made from this alone."""

    schema: Literal[1, 2] = SCHEMA
    workload: Workload
    concurrency: Positive
    rate_rps: Positive
    """What was offered to each."""
    server_cpus: tuple[CpuNumber, ...]
    """What was recorded."""
    frequency_hz: Positive
    """Samples a second of each of them."""
    interrupted: bool = False
    """The run ended before its plan was done."""
    notes: tuple[str, ...] = ()
    implementations: tuple[ImplementationProfile, ...]
