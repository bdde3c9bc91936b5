"""What the kernel tells of itself in files below / (proc(5), sysfs(5)). What cannot be read is None, or nothing."""

from dataclasses import dataclass
from pathlib import Path

from harness.testbed import sysctl


@dataclass(frozen=True, slots=True)
class MachineFiles:
    """The files of a machine, below ``root``: this one's, or a tree that shows what another one has."""

    root: Path = Path("/")

    def path(self, name: str | Path) -> Path:
        """Return where a file of the machine, such as ``/proc/stat``, is."""
        return self.root / str(name).lstrip("/")

    def read(self, name: str | Path) -> str | None:
        """Return a text, with single spaces."""
        try:
            return " ".join(self.path(name).read_text().split())
        except (OSError, UnicodeDecodeError):
            return None

    def lines(self, name: str | Path) -> list[str]:
        """Return the lines of a text."""
        try:
            return self.path(name).read_text(errors="replace").splitlines()
        except OSError:
            return []

    def flag(self, name: str | Path) -> bool | None:
        """Tell whether a switch, 0 or 1, is on."""
        return {"0": False, "1": True}.get(self.read(name) or "")

    def number(self, name: str | Path) -> int | None:
        """Return a number from 0 on."""
        text = self.read(name)
        return int(text) if text and text.isascii() and text.isdigit() else None

    def chosen(self, name: str | Path) -> str | None:
        """Return the word in brackets of ``always [madvise] never``; all of it where there is none."""
        text = self.read(name)
        return next((word.strip("[]") for word in (text or "").split() if word.startswith("[")), text)

    def matching(self, pattern: str) -> list[Path]:
        """List the files that a pattern, such as ``/proc/[0-9]*/stat``, finds, by name."""
        found = sorted(self.root.glob(pattern.lstrip("/")))
        return [Path("/") / path.relative_to(self.root) for path in found]

    def sysctl(self, name: str) -> str | None:
        """Return a setting such as ``net.core.somaxconn``, with single spaces."""
        return self.read(sysctl.path(name))

    def sysctl_number(self, name: str) -> int | None:
        """Return a setting that is one number from 0 on."""
        return self.number(sysctl.path(name))
