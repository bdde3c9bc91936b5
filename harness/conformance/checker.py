"""Runs cases and makes verdicts of them. It knows no test framework."""

import re
import resource
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from harness import processes
from harness.conformance.case import Case
from harness.conformance.cases import CASES
from harness.conformance.setting import Setting, opened
from harness.conformance.shared import SharedServers
from harness.conformance.subject import Subject
from harness.conformance.verdict import Outcome, Verdict, merge
from harness.conformance.violation import ContractViolation, RequirementMissing, TooLate
from harness.errors import BadInput
from harness.registry import Implementation
from harness.servers import ServerFailed

THREADS = 6
"""Cases that run at the same time: many of them wait most of their time."""
_ENDS_WITHIN_S = 1.5
"""How long a server may take to end when one of its workers has died, if it does not replace it."""
_GONE_WITHIN_S = 0.3
"""How long a process may take to be gone whose connections have ended."""
_PLAIN = ("-w", "1")
"""The flags of the server that must start before anything else is looked at."""


class Checker:
    """Checks cases on one implementation; several threads may use it. Its shared servers end with the context."""

    def __init__(self, implementation: Implementation, directory: Path) -> None:
        """Put logs, and what servers print, in a folder in ``directory``."""
        self._implementation = implementation
        self._directory = directory / implementation.name
        self._shared = SharedServers(implementation, self._directory)

    def __enter__(self) -> Self:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != hard:  # MANY-1000 opens more than the usual limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return self

    def __exit__(self, *_: object) -> None:
        self._shared.__exit__()

    def run(self, case: Case) -> Verdict:
        """Check one case."""
        began_s = time.monotonic()
        outcome, message = self._outcome(case)
        text = f"{case.test_id}: {' '.join(message.split())}" if message else ""
        return Verdict(case.id, case.title, outcome, text, time.monotonic() - began_s)

    def _outcome(self, case: Case) -> tuple[Outcome, str]:
        try:
            with self._shared.use(_PLAIN, () if "short" in self._implementation.workloads else ("live",)):
                pass  # a server that does not start at all fails everything at once
            try:
                self._check(case)
            except TooLate:
                # The machine may have had no time for the server, or for the case. It is the server's doing if it
                # happens again; how late it is then is what is told.
                self._check(case)
        except RequirementMissing as missing:
            return "skipped", str(missing)
        except ContractViolation as violation:
            return "failed", str(violation)
        except ServerFailed as failure:
            return "failed", f"expected a server that runs, got {failure}"
        except OSError as error:
            return "failed", f"expected an undisturbed connection, got {error!r}"
        return "passed", ""

    def _check(self, case: Case) -> None:
        if case.server == "none":
            self._check_on(case, None)
        elif case.server == "own" or not self._check_in_company(case):
            with opened(
                self._implementation, case.server_flags, case.backends, self._folder(case), "server"
            ) as setting:
                self._check_on(case, setting)

    def _check_in_company(self, case: Case) -> bool:
        """Check on a shared server; False when another case may have spoilt it, so that nothing is known."""
        with self._shared.use(case.server_flags, case.backends) as shared:
            try:
                self._check_on(case, shared.setting)
            except (ContractViolation, OSError):
                disturbed = _has_lost_processes(shared.setting, _ENDS_WITHIN_S) or not shared.fit
                shared.fit = False
                if disturbed:
                    return False
                raise
            return True

    def _check_on(self, case: Case, setting: Setting | None) -> None:
        with Subject(self._implementation, case.flags, self._folder(case), setting) as subject:
            try:
                case.check(subject)
            except ContractViolation as violation:
                if setting is None or not _has_lost_processes(setting, _GONE_WITHIN_S):
                    raise
                who = "the server" if setting.server.died else "a worker"
                seen = f"{violation.seen}; {who} has ended meanwhile: {setting.last_words()}"
                raise ContractViolation(violation.expected, seen) from None

    def _folder(self, case: Case) -> Path:
        return self._directory / re.sub(r"[^A-Za-z0-9-]+", "_", case.test_id).strip("_")


def _has_lost_processes(setting: Setting, timeout_s: float) -> bool:
    """Tell whether the server, or a worker of it that was there in the beginning, ends by itself within some time."""
    server = setting.server
    return processes.wait_until(lambda: server.died or (server.running and bool(setting.lost())), timeout_s)


def check(
    implementation: Implementation,
    directory: Path,
    on_verdict: Callable[[Verdict], None] | None = None,
    only: Collection[str] | None = None,
) -> list[Verdict]:
    """Check one implementation; see ``check_all``."""

    def tell(_: str, verdict: Verdict) -> None:
        if on_verdict is not None:
            on_verdict(verdict)

    return check_all([implementation], directory, tell, only)[implementation.name]


def check_all(
    implementations: Sequence[Implementation],
    directory: Path,
    on_verdict: Callable[[str, Verdict], None] | None = None,
    only: Collection[str] | None = None,
) -> dict[str, list[Verdict]]:
    """Check implementations side by side, and return one verdict for each obligation, in the contract's order.

    ``on_verdict`` gets an implementation's name and a verdict, in this thread, as verdicts come in; not those on what
    is not asked of an implementation. ``only`` are the ids to check, of all; None stands for what is asked of each.
    Raises BadInput for an id that does not exist.
    """
    cases = choose(only)
    parts: dict[tuple[str, str], list[Verdict]] = defaultdict(list)
    wanted = {case.id: sum(other.id == case.id for other in cases) for case in cases}
    merged = {
        (one.name, case.id): Verdict(case.id, case.title, "not asked", "", 0.0)
        for case in cases
        for one in implementations
        if not _is_asked(case, one, only)
    }
    with ExitStack() as stack:
        checkers = [(one, stack.enter_context(Checker(one, directory))) for one in implementations]
        pool = ThreadPoolExecutor(THREADS, thread_name_prefix="conformance")
        stack.callback(pool.shutdown, cancel_futures=True)
        running = {
            pool.submit(checker.run, case): one.name
            for case in cases
            for one, checker in checkers
            if (one.name, case.id) not in merged
        }
        for future in as_completed(running):
            name, verdict = running[future], future.result()
            key = (name, verdict.id)
            parts[key].append(verdict)
            if len(parts[key]) == wanted[verdict.id]:
                merged[key] = merge(parts[key])
                if on_verdict is not None:
                    on_verdict(name, merged[key])
    return {one.name: [merged[one.name, id_] for id_ in wanted] for one in implementations}


def _is_asked(case: Case, implementation: Implementation, only: Collection[str] | None) -> bool:
    asked = implementation.obligations
    return only is not None or asked is None or case.id in asked


def count(implementation: Implementation, only: Collection[str] | None = None) -> int:
    """Tell how many obligations are checked of an implementation. Raises BadInput for an id that does not exist."""
    return len({case.id for case in choose(only) if _is_asked(case, implementation, only)})


def choose(only: Collection[str] | None) -> list[Case]:
    """Return the cases of some obligations; None stands for all. Raises BadInput for an id that does not exist."""
    if only is None:
        return list(CASES)
    for id_ in only:
        if not any(case.id == id_ for case in CASES):
            raise BadInput(f"--case {id_!r}: unknown; the ids are those in CONTRACT.md, as REPLY-BYTES")
    return [case for case in CASES if case.id in only]
