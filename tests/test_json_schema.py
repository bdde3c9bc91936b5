"""The written schema is what the types give, and the files of a run of either version keep it."""

import json
from pathlib import Path

import msgspec
import pytest
from jsonschema import Draft202012Validator, ValidationError

from harness import environment, json_schema, results
from harness.analysis.comparison import compare
from tests.simulated import Server, measure, planned

VERSION_1 = Path(__file__).parent / "data" / "run-v1"
VALIDATORS = {name: Draft202012Validator(json_schema.make(name)) for name in json_schema.KINDS}


@pytest.mark.parametrize("name", json_schema.KINDS)
def test_the_stored_schema_is_what_the_types_give(name: str) -> None:
    stored = (json_schema.FOLDER / f"{name}.json").read_text()
    assert stored == json_schema.text(name), "run make schema, and think of SCHEMA in harness/schema.py"
    Draft202012Validator.check_schema(json.loads(stored))


def test_a_run_of_version_1_keeps_it() -> None:
    for name in ("plan", "environment", "summary"):
        VALIDATORS[name].validate(json.loads((VERSION_1 / f"{name}.json").read_bytes()))
    lines = (VERSION_1 / results.SLICES).read_text().splitlines()
    assert len(lines) == 92
    for line in lines:
        VALIDATORS["slice"].validate(json.loads(line))


def test_what_is_written_now_keeps_it() -> None:
    plan = planned(["fast", "slow"])
    slices = measure(plan, {"fast": Server(15_000), "slow": Server(12_000)}, rounds=4)
    written = {"plan": plan, "environment": environment.describe(), "summary": compare(plan, slices, {})}
    for name, value in {**written, "slice": slices[0]}.items():
        VALIDATORS[name].validate(json.loads(msgspec.json.encode(value)))


def test_it_refuses_what_is_no_such_file() -> None:
    plan = json.loads((VERSION_1 / results.PLAN).read_bytes())
    for wrong in ({"schema": 3}, {"seed": -1}, {"cells": 1}):
        with pytest.raises(ValidationError):
            VALIDATORS["plan"].validate({**plan, **wrong})
