"""CONTRACT.md and its cases name the same obligations, and every implementation keeps them."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable

import pytest

from harness.conformance import CASES, Case, Checker
from harness.registry import ROOT, Implementation


@pytest.mark.parametrize("case", CASES, ids=[case.test_id for case in CASES])
def test_contract(case: Case, impl: Implementation, checkers: Callable[[Implementation], Checker]) -> None:
    verdict = checkers(impl).run(case)
    if verdict.outcome == "skipped":
        pytest.skip(verdict.message)
    if verdict.outcome == "failed":
        pytest.fail(verdict.message, pytrace=False)
    assert verdict.outcome == "passed"


def test_each_obligation_has_a_case_and_each_case_an_obligation() -> None:
    written = re.findall(r"^\| `([A-Z0-9-]+)` \|", (ROOT / "CONTRACT.md").read_text(), re.MULTILINE)
    assert Counter(written).most_common(1)[0][1] == 1
    assert list(dict.fromkeys(case.id for case in CASES)) == written


def test_each_case_has_a_name_of_its_own() -> None:
    assert Counter(case.test_id for case in CASES).most_common(1)[0][1] == 1


def test_variants_of_an_obligation_have_one_title() -> None:
    titles = defaultdict(set)
    for case in CASES:
        titles[case.id].add(case.title)
    assert {id_: found for id_, found in titles.items() if len(found) > 1} == {}
