"""What a run has left, found by the folder that its servers' command lines name."""

from pathlib import Path

import psutil


def left_running(folder: Path) -> list[int]:
    """Find processes by a folder on their command line, as their log file's."""
    return [pid for pid in psutil.pids() if str(folder) in command_line(pid)]


def command_line(pid: int) -> str:
    """Return a process's command line; an empty text when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""
