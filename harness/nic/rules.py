"""What is right for a card: ``harness tune`` sets it, and ``harness doctor`` looks for it."""

from typing import Final

USECS: Final = 333
"""Between two interrupts of a queue: 3000 a second at most, as Fastsocket's nic.sh has it."""


def need_steering(queues: int, cpus: int) -> bool:
    """Tell whether so many CPUs share so few queues, so that packets are to be passed on (RPS).

    Where each CPU has a queue that costs an interrupt more and gains nothing (the kernel's
    Documentation/networking/scaling.rst).
    """
    return queues < cpus
