"""Spoils settings of the network namespace that it runs in, mends them as ``harness doctor`` says, and looks again."""

import dataclasses
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.machine_files import MachineFiles
from tests.made_machine import make
from tests.test_doctor import BASH, CHECKS, SETTINGS_MEND, Spoilt


def mended(case: Spoilt, folder: Path) -> tuple[str, str | None]:
    for name, text in case.files.items():
        Path(name).write_text(text or "")
    system = dataclasses.replace(make(folder, others=case.others), files=MachineFiles())
    [before] = CHECKS[case.id].findings(system)
    if (before.state, bool(before.mend)) != (case.state, True):
        return before.state, before.found
    subprocess.run([BASH, "-c", before.mend or ""], check=True, stdout=subprocess.DEVNULL)
    [after] = CHECKS[case.id].findings(system)
    return after.state, after.mend


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(json.dumps([mended(case, Path(folder)) for case in SETTINGS_MEND]))
