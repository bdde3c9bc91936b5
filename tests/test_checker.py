"""The checker itself: what counts as passed, who is to blame, and that nothing hangs."""

import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from harness.conformance import Case, Checker, Verdict, check, checker
from harness.conformance.subject import Subject
from harness.conformance.verdict import merge
from harness.conformance.violation import ContractViolation, RequirementMissing, TooLate
from harness.errors import BadInput
from harness.registry import Implementation, find

[REFERENCE] = find("epoll_raw")


def passing(subject: Subject) -> None:
    subject.exchange()


def failing(_: Subject) -> None:
    raise ContractViolation("a", "b\nc")


def lacking(_: Subject) -> None:
    raise RequirementMissing("no moon here")


def killing(subject: Subject) -> None:
    subject.server.send_signal(signal.SIGKILL)
    raise ContractViolation("life", "death")


def killing_a_worker(subject: Subject) -> None:
    [worker] = subject.server.worker_pids()
    os.kill(worker, signal.SIGKILL)
    raise ContractViolation("life", "death")


def verdicts_of(monkeypatch: pytest.MonkeyPatch, directory: Path, *cases: Case) -> dict[str, Verdict]:
    monkeypatch.setattr(checker, "CASES", cases)
    return {verdict.id: verdict for verdict in check(REFERENCE, directory)}


def test_a_verdict_is_passed_failed_or_skipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    verdicts = verdicts_of(
        monkeypatch, tmp_path, Case("P", "p", passing), Case("F", "f", failing), Case("S", "s", lacking)
    )
    assert {id_: (v.outcome, v.message) for id_, v in verdicts.items()} == {
        "P": ("passed", ""),
        "F": ("failed", "F: expected a, got b c"),
        "S": ("skipped", "S: no moon here"),
    }


@pytest.mark.parametrize(("times", "outcome"), [(1, "passed"), (2, "failed")])
def test_who_is_late_once_is_looked_at_again(
    times: int, outcome: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tries = []

    def late(_: Subject) -> None:
        tries.append(time.monotonic())
        if len(tries) <= times:
            raise TooLate("an end within 2 s", f"one after {3 * len(tries)} s")

    verdict = verdicts_of(monkeypatch, tmp_path, Case("L", "l", late))["L"]
    assert verdict.outcome == outcome
    assert verdict.message == ("L: expected an end within 2 s, got one after 6 s" if outcome == "failed" else "")
    assert len(tries) == 2


def test_a_variant_that_fails_fails_all_and_one_that_is_skipped_leaves_no_pass() -> None:
    passed, failed, skipped = (
        Verdict("X", "x", "passed", "", 1.0),
        Verdict("X", "x", "failed", "X[-k]: expected a, got b", 2.0),
        Verdict("X", "x", "skipped", "X: no moon here", 4.0),
    )
    assert merge([passed, passed]).outcome == "passed"
    assert merge([passed, skipped]) == Verdict("X", "x", "skipped", "X: no moon here", 5.0)
    assert merge([skipped, failed, passed]) == Verdict("X", "x", "failed", "X[-k]: expected a, got b", 7.0)


def test_variants_with_one_reason_are_told_together() -> None:
    failures = [Verdict("X", "x", "failed", f"X{variant}: expected a, got b", 0.0) for variant in ("", "[-k]")]
    assert merge(failures).message == "X, X[-k]: expected a, got b"


def test_only_the_case_that_spoils_a_shared_server_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cases = [Case(f"P{number}", "p", passing) for number in range(20)]
    verdicts = verdicts_of(monkeypatch, tmp_path, *cases[:5], Case("K", "k", killing), *cases[5:])
    assert {id_ for id_, verdict in verdicts.items() if verdict.outcome != "passed"} == {"K"}


def test_a_worker_that_dies_is_named_and_only_the_case_that_killed_it_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cases = [Case(f"P{number}", "p", passing) for number in range(20)]
    verdicts = verdicts_of(monkeypatch, tmp_path, *cases[:5], Case("K", "k", killing_a_worker), *cases[5:])
    assert {id_ for id_, verdict in verdicts.items() if verdict.outcome != "passed"} == {"K"}
    assert re.search(r"death; (a worker|the server) has ended meanwhile: .*SIGKILL", verdicts["K"].message)


def test_a_mistake_in_a_case_is_no_verdict(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def mistaken(_: Subject) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        verdicts_of(monkeypatch, tmp_path, Case("M", "m", mistaken))


def test_a_server_that_does_not_start_fails_everything_at_its_first_start(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    code = f"import sys; print(file=open({str(starts)!r}, 'a')); sys.exit('no wax today')"
    broken = Implementation("broken", (sys.executable, "-c", code), None, external=True)
    verdicts = check(broken, tmp_path)
    assert starts.read_text() == "\n", "it was started once more for another case"
    assert {verdict.outcome for verdict in verdicts} == {"failed"}
    assert all("no wax today" in verdict.message and "\n" not in verdict.message for verdict in verdicts)


def test_a_server_that_hangs_costs_no_more_than_its_deadlines(tmp_path: Path) -> None:
    code = (
        "import signal, socket, sys; host, port = sys.argv[2].split(':')\n"
        "listener = socket.create_server((host, int(port))); signal.pause()"
    )
    deaf = Implementation("deaf", (sys.executable, "-c", code), None, external=True)
    began_s = time.monotonic()
    [verdict] = check(deaf, tmp_path, only=["REPLY-LENGTH"])
    assert time.monotonic() - began_s < 20
    assert "REPLY-LENGTH[-k]: expected a reply, got nothing in time" in verdict.message


def test_verdicts_are_told_as_they_come_in_and_returned_in_the_order_of_the_contract(tmp_path: Path) -> None:
    told: list[Verdict] = []
    verdicts = check(REFERENCE, tmp_path, told.append, only=["CLI-HELP", "REPLY-BYTES"])
    assert [verdict.id for verdict in verdicts] == ["REPLY-BYTES", "CLI-HELP"]
    assert sorted(told, key=lambda verdict: verdict.id, reverse=True) == verdicts


def test_an_unknown_obligation_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="'REPLY-BITES'"):
        check(REFERENCE, tmp_path, only=["REPLY-BITES"])


def test_no_server_is_left_when_a_checker_is_interrupted(tmp_path: Path) -> None:
    running = []

    def interrupted(subject: Subject) -> None:
        running.append(subject.server)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Checker(REFERENCE, tmp_path) as interrupted_checker:
        interrupted_checker.run(Case("I", "i", interrupted))
    assert [server.process_pids() for server in running] == [[]]
