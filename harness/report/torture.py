"""What came of torture, for people."""

from collections import Counter
from collections.abc import Iterator

from harness.report import figures
from harness.report.figures import NONE, WIDTH
from harness.torture.outcome import MEMORY_BOUND_BYTES, Tortured

_MOST_SHOWN = 10
_MB = 1e6


def render(tortured: Tortured) -> str:
    """Return the account, and a sentence that sums it up."""
    ledger = tortured.ledger
    parts = [
        _title(tortured),
        _counted(ledger.faults, "faults injected"),
        _requests(tortured),
        _counted(ledger.explained, "requests explained by a fault"),
        _resources(tortured),
        *_problems(tortured),
        figures.wrap(_sentence(tortured), WIDTH),
    ]
    return "\n\n".join(part for part in parts if part)


def _title(tortured: Tortured) -> str:
    faults = figures.plural(tortured.ledger.faults.total(), "fault")
    return f"TORTURE of {figures.printable(tortured.name)}: seed {tortured.seed}, {tortured.lasted_s:.0f} s, {faults}"


def _counted(counts: Counter[str], title: str) -> str:
    rows = [[kind, f"{count:,}"] for kind, count in sorted(counts.items())]
    return figures.table([*rows, ["all", f"{counts.total():,}"]], [title, ""], ["left", "right"]) if rows else ""


def _requests(tortured: Tortured) -> str:
    ledger = tortured.ledger
    rows = [[way, f"{count:,}", f"{ledger.replies[way]:,}"] for way, count in ledger.requests.items()]
    rows.append(["all", f"{ledger.requests.total():,}", f"{ledger.replies.total():,}"])
    return figures.table(rows, ["server", "requests", "complete and correct"], ["left", "right", "right"])


def _resources(tortured: Tortured) -> str:
    rows = [
        [one.server, f"{one.leaked:,}", f"{one.allocated_bytes / _MB:+.2f}", f"{one.rss_bytes / _MB:+.2f}"]
        for one in tortured.growth
    ]
    headers = ["server", "descriptors leaked", "memory MB", "resident MB"]
    return figures.table(rows, headers, ["left", *["right"] * 3]) if rows else ""


def _problems(tortured: Tortured) -> Iterator[str]:
    ledger = tortured.ledger
    swollen = [
        f"{one.server}: {one.allocated_bytes / _MB:.2f} MB more memory, where {MEMORY_BOUND_BYTES / _MB:.2f} MB may be"
        for one in tortured.growth
        if one.allocated_bytes > MEMORY_BOUND_BYTES
    ]
    leaked = [f"{one.server}: descriptors leaked: {one.leaked:,}" for one in tortured.growth if one.leaked]
    found = [*ledger.findings, *swollen, *leaked]
    for title, texts in (("UNEXPLAINED", ledger.unexplained), ("FOUND", found)):
        if texts:
            more = f"\n  and {len(texts) - _MOST_SHOWN:,} more" if len(texts) > _MOST_SHOWN else ""
            shown = (figures.wrap(figures.printable(text), WIDTH, "  ", "    ") for text in texts[:_MOST_SHOWN])
            yield f"{title}:\n" + "\n".join(shown) + more


def _sentence(tortured: Tortured) -> str:
    ledger = tortured.ledger
    replaced = f"{max(tortured.replaced_s):.2f} s" if tortured.replaced_s else NONE
    balance = (
        f"{ledger.requests.total():,} requests = {ledger.replies.total():,} replies + {ledger.explained.total():,} "
        f"explained + {len(ledger.unexplained):,} unexplained; leaked descriptors: {tortured.leaked:,}; "
        f"longest time to replace a worker: {replaced}; a process may have {MEMORY_BOUND_BYTES / _MB:.1f} MB more "
        "memory than when it was quiet after the warm-up."
    )
    if tortured.stood:
        return f"{balance} Nothing was lost."
    return f"{balance} It did not stand this; see {ledger.folder}, kept for that."
