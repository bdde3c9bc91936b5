"""All checks there are."""

from typing import Final

from harness.doctor import devices, frequency, interrupts, limits, others, packet_filters, processors, tools
from harness.doctor.check import Area

AREAS: Final[tuple[Area, ...]] = (
    frequency.AREA,
    processors.AREA,
    others.AREA,
    interrupts.AREA,
    devices.AREA,
    packet_filters.AREA,
    limits.AREA,
    tools.AREA,
)
"""In the order in which they are shown."""
