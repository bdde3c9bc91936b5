"""Two runs side by side: a table of changes, what the runs differ in, and one sentence."""

from collections.abc import Sequence

from harness.analysis.diff import Change, Diff
from harness.report import environment, figures
from harness.report.figures import WIDTH
from harness.schema import Estimate

_NAME_WIDTH = 24
_HEADERS = ("", "requests/s\nnew / old", "CPU/request\nnew / old", "verdict\nold, new", "decided by", "change")
_ALIGNMENT = ("left", "right", "right", "left", "left", "left")
_DECIDED_BY = {"throughput": "requests/s", "cpu": "CPU", None: figures.NONE}
_LEGEND = (
    "Compared are ratios to {reference}: the machine of another day cancels. Ranges are 95 % intervals; a change whose "
    "interval holds 1 is not shown. Requests/s below 1 is slower, CPU above 1 is dearer. Requests/s decide where the "
    "server was the limit in both runs, for {reference} as well; elsewhere they stand in brackets, and the CPU decides."
)


def render(diff: Diff, *, fail_if_slower: float | None = None) -> str:
    """Return the report; ``fail_if_slower`` is the share from which on a change for the worse fails."""
    parts = [_table(diff, cell) for cell in dict.fromkeys(change.cell for change in diff.changes)]
    parts.append(figures.wrap(_LEGEND.format(reference=figures.printable(diff.reference)), WIDTH))
    if diff.missing:
        lines = (figures.wrap(figures.printable(line), WIDTH, "  ", "    ") for line in diff.missing)
        parts.append("\n".join(["What cannot be compared:", *lines]))
    parts += [environment.different(diff.differences, WIDTH), _sentence(diff.changes)]
    if fail_if_slower is not None:
        parts.append(figures.wrap(_failing(diff.changes, fail_if_slower), WIDTH))
    return "\n\n".join(parts) + "\n"


def _table(diff: Diff, cell: str) -> str:
    rows = [_row(change) for change in diff.changes if change.cell == cell]
    return f"{cell}: against {figures.printable(diff.reference)}\n\n{figures.table(rows, _HEADERS, _ALIGNMENT)}"


def _row(change: Change) -> list[str]:
    verdicts = dict.fromkeys((change.old_verdict, change.new_verdict))
    return [
        figures.name(change.impl, _NAME_WIDTH),
        _change(change.throughput, in_brackets=change.decides != "throughput"),
        _change(change.cpu, in_brackets=False),
        "\n".join(verdicts),
        _DECIDED_BY[change.decides],
        change.outcome,
    ]


def _change(change: Estimate, *, in_brackets: bool) -> str:
    text = figures.ratio(change)
    return "\n".join(f"({line})" for line in text.split("\n")) if in_brackets and change.value is not None else text


def _sentence(changes: Sequence[Change]) -> str:
    parts = [_worse_or_better(change) for change in changes if change.outcome in {"better", "worse"}]
    open_ = sum(change.outcome == "no change shown" for change in changes)
    if open_:
        parts.append(f"no change is shown in {open_} of {figures.plural(len(changes), 'comparison')}")
    unknown = sum(change.outcome == "unknown" for change in changes)
    if unknown:
        parts.append(f"nothing can be said of {unknown}")
    parts = parts or ["nothing can be compared"]
    lines = [figures.wrap(f"{part}{'.' if part is parts[-1] else ';'}", WIDTH, "  ", "    ") for part in parts]
    return "\n".join(["In one sentence (in brackets the 95 % interval):", *lines])


def _worse_or_better(change: Change) -> str:
    """Say how large a shown change is, such as ``uvloop is slower on short/w1/c100, by 4.1 % (2.0 to 6.1 %)``."""
    by_throughput = change.decides == "throughput"
    estimate = change.throughput if by_throughput else change.cpu
    sizes = sorted(abs((bound or 1.0) - 1) for bound in (estimate.low, estimate.high))
    size = abs((estimate.value or 1.0) - 1)
    word = {
        (True, "worse"): "is slower",
        (True, "better"): "is faster",
        (False, "worse"): "needs more CPU per request",
        (False, "better"): "needs less CPU per request",
    }[by_throughput, change.outcome]
    amount = f"{figures.per_cent(size)} % ({figures.per_cent(sizes[0])} to {figures.per_cent(sizes[1])} %)"
    return f"{figures.printable(change.impl)} {word} on {change.cell}, by {amount}"


def _failing(changes: Sequence[Change], share: float) -> str:
    limit = f"{figures.per_cent(share)} %"
    failing = [f"{figures.printable(change.impl)} on {change.cell}" for change in changes if change.is_worse_by(share)]
    if not failing:
        return f"No change for the worse of more than {limit} is shown."
    return f"Worse by more than {limit}: {figures.listing(failing)}."
