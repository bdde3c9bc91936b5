"""The obligations of CONTRACT.md as cases, and the checker that runs them against any server."""

from harness.conformance.case import Case
from harness.conformance.cases import CASES
from harness.conformance.checker import Checker, check, check_all, choose, count
from harness.conformance.verdict import Outcome, Verdict

__all__ = ["CASES", "Case", "Checker", "Outcome", "Verdict", "check", "check_all", "choose", "count"]
