"""A disk that is soon full, and nobody else's."""

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest


@pytest.fixture
def on_a_small_disk(tmp_path: Path) -> Callable[[], tuple[Sequence[str], Path]]:
    """Give what begins a command that has a disk of 2 MB of its own, and where that is; skip where nobody may."""
    disk = tmp_path / "disk"
    disk.mkdir()
    prefix = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-c"]
    prefix += [f'mount -t tmpfs -o size=2m none "{disk}" && exec "$@"', "sh"]

    def small_disk() -> tuple[Sequence[str], Path]:
        if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
            pytest.skip("no file system can be mounted here")
        return prefix, disk

    return small_disk
