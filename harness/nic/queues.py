"""The queues of a network device, as /sys has them, and which CPUs work on them.

See the kernel's Documentation/networking/scaling.rst.
"""

from dataclasses import dataclass
from pathlib import Path

from harness.testbed import cpus


@dataclass(frozen=True, slots=True)
class RxQueue:
    """A queue that receives."""

    number: int
    rps_cpus: tuple[int, ...] | None
    """The CPUs that packets are passed on to (RPS); none: who takes the interrupt works on them. None: not told."""
    rps_flow_cnt: int | None
    """Of how many connections it remembers the CPU (RFS); None where the kernel does not say."""


@dataclass(frozen=True, slots=True)
class TxQueue:
    """A queue that sends."""

    number: int
    xps_cpus: tuple[int, ...] | None
    """The CPUs that send through it (XPS); None where the kernel does not say, as of a device's only queue."""


def read_rx(root: Path, device: str) -> tuple[RxQueue, ...]:
    """Tell of the queues that receive."""
    return tuple(
        RxQueue(number, _cpus(file(root, device, f"rx-{number}", "rps_cpus")), _flows(root, device, number))
        for number in _numbers(root, device, "rx")
    )


def read_tx(root: Path, device: str) -> tuple[TxQueue, ...]:
    """Tell of the queues that send."""
    return tuple(
        TxQueue(number, _cpus(file(root, device, f"tx-{number}", "xps_cpus")))
        for number in _numbers(root, device, "tx")
    )


def file(root: Path, device: str, queue: str, name: str) -> Path:
    """Return the file of a setting of a queue such as ``rx-0``."""
    return root / "sys/class/net" / device / "queues" / queue / name


def _numbers(root: Path, device: str, direction: str) -> list[int]:
    queues = root / "sys/class/net" / device / "queues"
    return sorted(int(path.name.removeprefix(f"{direction}-")) for path in queues.glob(f"{direction}-[0-9]*"))


def _flows(root: Path, device: str, number: int) -> int | None:
    try:
        return int(file(root, device, f"rx-{number}", "rps_flow_cnt").read_text())
    except (OSError, ValueError):
        return None


def _cpus(path: Path) -> tuple[int, ...] | None:
    try:
        return cpus.parse_mask(path.read_text())
    except (OSError, ValueError):
        return None
