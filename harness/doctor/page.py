"""docs/doctor.md, made of the checks themselves: ``make doctor-page``."""

import sys
from collections.abc import Iterator
from typing import Final

from harness.doctor.checks import AREAS
from harness.registry import ROOT

PAGE: Final = ROOT / "docs" / "doctor.md"
_HEAD: Final = """\
# Is this machine fit?

`harness doctor` looks at each setting that spoils measurements of servers. It takes a few seconds, for one of which it
watches what else runs, and changes nothing.

    .venv/bin/harness doctor                                  # for harness compare as it is without options
    .venv/bin/harness doctor --workers 8 --concurrency 1000   # for more than that
    .venv/bin/harness doctor --nic eth0                       # for servers that are reached by this device
    .venv/bin/harness doctor --json                           # for a program; results/schema/doctor.json is its schema

- **problem**: figures will be wrong, or a run will fail; the exit status is 1.
- **warning**: figures may waver, or do not compare with those of other machines.
- **unknown**: cannot be told here, as the kernel hides it or only root may see it. That is not OK.
- **ok**: as it should be.

Below what is not OK stand why it matters and, where one line for a root shell mends it, that line. Such a line changes
the machine until it is started anew, or for good where it says so; doctor itself never runs it. What the testbed netns
brings for its own hosts (ports, TIME_WAIT, queues of connections, firewall) counts only on loopback and with `--nic`.

The ids are in the JSON and stay from version to version; the table is made of the checks (`make doctor-page`).
"""


def text() -> str:
    """Return what the page holds."""
    return "\n".join([_HEAD, *_rows()])


def _rows() -> Iterator[str]:
    for area in AREAS:
        yield from (f"## {area.title}", "", "| id | what | OK is | why |", "| --- | --- | --- | --- |")
        for check in area.checks:
            yield f"| `{check.id}` | {check.title} | {check.right} | {check.why} |"
        yield ""


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}: written\n")
