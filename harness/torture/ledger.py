"""The account: each request ends in exactly one place."""

import json
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from harness.torture.exchange import Exchange
from harness.torture.judge import Outage, Pause, judge

MOST_DETAILS = 1000


@dataclass(slots=True)
class Ledger:
    """Counts faults, requests and what became of them."""

    folder: Path
    backends: int
    requests: Counter[str] = field(default_factory=Counter)
    """Begun, by way of working; so are ``replies``, complete and correct."""
    replies: Counter[str] = field(default_factory=Counter)
    explained: Counter[str] = field(default_factory=Counter)
    unexplained: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    """Injected, by kind."""
    findings: list[str] = field(default_factory=list)
    """What else is not as it should be."""
    outages: list[Outage] = field(default_factory=list)
    pauses: list[Pause] = field(default_factory=list)
    began_s: float = field(default_factory=time.monotonic)
    """Times that are written down count from here."""
    cut_off: str = ""
    """Why nothing is written down any more; the counts go on."""

    def begin(self, exchange: Exchange) -> None:
        """Count a request."""
        self.requests[exchange.way.name] += 1

    def finish(self, exchange: Exchange) -> bool:
        """Enter what became of it, and tell whether it is complete."""
        verdict = judge(exchange, self.outages, self.pauses, self.backends)
        if verdict.complete:
            self.replies[exchange.way.name] += 1
        elif verdict.cause:
            self.explained[verdict.cause] += 1
        else:
            identity = exchange.identity.decode(errors="replace")
            self.unexplained.append(f"{exchange.way.name} {identity}: {verdict.problem}")
            if len(self.unexplained) <= MOST_DETAILS:
                self._keep(exchange, verdict.problem)
        return verdict.complete

    def fault(self, kind: str, where: str = "") -> None:
        """Count a fault that was injected; one with a place is also written down with its time."""
        self.faults[kind] += 1
        if where:
            self._write("faults.jsonl", {"at_s": time.monotonic() - self.began_s, "fault": kind, "where": where})

    def find(self, what: str) -> None:
        """Note something that is not as it should be."""
        self.findings.append(what)

    @property
    def balanced(self) -> bool:
        """Whether every request that was begun has been entered once."""
        entered = self.replies.total() + self.explained.total() + len(self.unexplained)
        return self.requests.total() == entered

    def _keep(self, exchange: Exchange, problem: str) -> None:
        """Write all that is known of an exchange, but for what it carried."""
        known = {name: value for name in exchange.__slots__ if not isinstance(value := getattr(exchange, name), bytes)}
        del known["way"]
        known["script"] = asdict(exchange.script)
        known["carrier"] = asdict(exchange.carrier) if exchange.carrier else None
        line = {
            "way": exchange.way.name,
            "identity": exchange.identity.decode(errors="replace"),
            **known,
            "began_s": exchange.began_s - self.began_s,
            "ended_s": exchange.ended_s - self.began_s,
            "problem": problem,
            "own_reply": exchange.own_reply[:200].decode(errors="backslashreplace"),
            "expected_bytes": len(exchange.reply),
        }
        self._write("unexplained.jsonl", line)

    def _write(self, name: str, line: dict[str, object]) -> None:
        if self.cut_off:
            return
        try:
            with (self.folder / name).open("a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            self.cut_off = error.strerror or str(error)
            self.find(f"broken off, and the files in {self.folder} are cut off: {self.cut_off}")
