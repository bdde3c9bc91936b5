"""Conformance rejects each fake by what it breaks, and by nothing else of the same section but what takes long."""

import importlib
import re
import shlex
import sys
from pathlib import Path

import pytest

from harness.conformance import check
from harness.registry import ROOT, find

FAKES = sorted(path.stem for path in (Path(__file__).parent / "fakes").glob("[!_]*.py"))
ALWAYS_CHECKED = {"REPLY-BYTES", "KEEP-PIECES", "PROXY-RELAY"}
LONG = {
    "LIMIT-FILES", "LIMIT-IDLE", "LISTEN-DEAD-WORKER", "LISTEN-EXCLUSIVE", "LISTEN-MODES", "LISTEN-PERCPU",
    "LISTEN-PORT-TAKEN", "LISTEN-SEVERAL", "LISTEN-SOCKETS", "PROC-GIVE-UP", "PROC-GRACE", "PROC-RESTART",
    "PROC-SIGNAL-BUSY", "PROC-STOP-CONT", "PROXY-504", "PROXY-LEFT-OUT", "PROXY-SLOW-READER", "STAT-FAULTS",
    "STAT-LOCALITY",
}  # fmt: skip
"""Half of the time that all cases take, so they are checked only on fakes that are to break them."""


def sections() -> list[set[str]]:
    """Return the obligations of each section of CONTRACT.md."""
    texts = re.split(r"^## ", (ROOT / "CONTRACT.md").read_text(), flags=re.MULTILINE)
    return [set(re.findall(r"^\| `([A-Z0-9-]+)` \|", text, re.MULTILINE)) for text in texts]


@pytest.mark.parametrize("name", FAKES)
def test_a_fake_is_rejected_for_what_it_breaks(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    module = importlib.import_module(f"tests.fakes.{name}")
    rejected_by: set[str] = module.REJECTED_BY
    perhaps: set[str] = getattr(module, "PERHAPS_BY", set())  # where it hangs on how much a write takes
    [fake] = find("none", [f"{name}={shlex.join([sys.executable, '-m', f'tests.fakes.{name}'])}"])
    of_its_sections: set[str] = set().union(*(section for section in sections() if section & rejected_by))
    assert rejected_by <= of_its_sections
    checked = ALWAYS_CHECKED | (of_its_sections - LONG) | rejected_by
    verdicts = check(fake, tmp_path, only=checked)
    could_not_be_checked = {verdict.id for verdict in verdicts if verdict.outcome == "skipped"}
    if rejected_by <= could_not_be_checked:
        pytest.skip(f"this machine cannot check {', '.join(sorted(rejected_by))}")
    failed = {verdict.id: verdict.message for verdict in verdicts if verdict.outcome == "failed"}
    assert rejected_by - could_not_be_checked <= set(failed) <= rejected_by | perhaps, failed
    assert all(message.startswith(id_) for id_, message in failed.items())


def test_each_obligation_is_broken_by_a_fake() -> None:
    broken = set().union(*(importlib.import_module(f"tests.fakes.{name}").REJECTED_BY for name in FAKES))
    assert sorted(set().union(*sections()) - broken) == []
