"""Settings of the kernel (sysctl(8)), those of the network namespace that this process is in among them."""

from pathlib import Path


def path(name: str) -> Path:
    """Return the file of a setting such as ``net.ipv4.ip_local_port_range``."""
    return Path("/proc/sys", *name.split("."))


def read(name: str) -> str:
    """Return a setting, with single spaces. Raises OSError."""
    return " ".join(path(name).read_text().split())
