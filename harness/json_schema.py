"""Writes the types of a run's files down as JSON Schema: ``python -m harness.json_schema``, or ``make schema``.

Others can then check and read the files without this program. The stored files are made, never edited; a test
compares them with the types.
"""

import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from harness.doctor_schema import Diagnosis
from harness.environment_schema import Environment
from harness.profile_schema import Profile
from harness.registry import ROOT
from harness.schema import SCHEMA, Plan, Slice, Summary

FOLDER: Final = ROOT / "results" / "schema"
KINDS: Final[dict[str, type[msgspec.Struct]]] = {
    "plan": Plan,
    "environment": Environment,
    "slice": Slice,
    "summary": Summary,
    "profile": Profile,
    "doctor": Diagnosis,
}
"""What each schema is of; ``slice`` is one line of slices.jsonl."""
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def make(name: str) -> dict[str, Any]:
    """Return the JSON Schema of one of KINDS; it accepts the files of all versions that can be read."""
    return {
        "$schema": _DIALECT,
        "$id": f"urn:percore:{name}:{SCHEMA}",
        "title": f"percore {name}, version {SCHEMA}",
        **msgspec.json.schema(KINDS[name]),
    }


def text(name: str) -> str:
    """Return what the stored file of one of KINDS holds."""
    return msgspec.json.format(msgspec.json.encode(make(name)), indent=2).decode() + "\n"


def write(folder: Path) -> None:
    """Write all of them, a file each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in KINDS:
        (folder / f"{name}.json").write_text(text(name), encoding="utf-8")


if __name__ == "__main__":
    write(FOLDER)
    sys.stdout.write(f"{', '.join(KINDS)}: written to {FOLDER}\n")
