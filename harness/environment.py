"""What a run was measured on, as far as it bears on the figures."""

import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from harness.registry import ROOT

_SYSCTLS = (
    "net/core/somaxconn",
    "net/ipv4/ip_local_port_range",
    "net/ipv4/tcp_max_syn_backlog",
    "net/ipv4/tcp_tw_reuse",
    "net/ipv4/tcp_congestion_control",
    "net/ipv4/tcp_fin_timeout",
)
_LIBRARIES = ("numpy", "scipy", "hdrhistogram", "msgspec")


def describe() -> dict[str, object]:
    """Describe machine, kernel, settings and software; what cannot be read is None."""
    return {
        "time_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "cpu_model": _cpu_model(),
        "cpus_allowed": sorted(os.sched_getaffinity(0)),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "load_average": list(os.getloadavg()),
        "sysctls": {name.replace("/", "."): _read(f"/proc/sys/{name}") for name in _SYSCTLS},
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES},
        "revision": _revision(),
    }


def _read(path: str) -> str | None:
    try:
        return " ".join(Path(path).read_text().split())
    except OSError:
        return None


def _cpu_model() -> str | None:
    lines = _read_lines("/proc/cpuinfo") or [""]
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)


def _read_lines(path: str) -> list[str] | None:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return None


def _revision() -> str | None:
    """Name the commit that ran, with "+" when files were changed; None outside a git checkout."""
    try:
        result = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--dirty=+"],  # noqa: S607  git from the user's PATH
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None
