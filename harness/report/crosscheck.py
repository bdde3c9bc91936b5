"""The table of a cross-check, and for each witness a sentence that says whether it agrees, and if not, why."""

from collections.abc import Sequence

from harness.analysis.crosscheck import BUILTIN, ClientFigures, Comparison, Crosscheck
from harness.report import figures
from harness.report.figures import WIDTH
from harness.schema import Estimate

_NAMES = {BUILTIN: "built-in"}
_ALIGNMENT = ("left", *["right"] * 8)
_HEADERS = (
    "",
    "requests/s",
    "built-in\nto it",
    "requests per\nclient CPU s",
    "built-in\nto it",
    "client\nbusy",
    "server\nbusy",
    "server µs\n/request",
    "errors",
)
LEGEND = (
    "Rates are means. Ratios are of the built-in generator to the witness, taken within each round, with 95 % "
    "intervals. Busy: the share of the time that the busiest of a client's processes, or the server's worker, ran."
)


def render(title: str, found: Crosscheck) -> str:
    """Return the table of one workload and the sentences."""
    comparisons = {comparison.witness: comparison for comparison in found.comparisons}
    rows = [_row(client, comparisons.get(client.client)) for client in found.figures]
    table = figures.table(rows, _HEADERS, _ALIGNMENT)
    own, *others = found.figures
    pairs = zip(found.comparisons, others, strict=True)
    sentences = [figures.wrap(sentence(comparison, own, other), WIDTH, "  ", "    ") for comparison, other in pairs]
    return "\n".join([title, "", table, "", *sentences]) + "\n"


def sentence(comparison: Comparison, own: ClientFigures, other: ClientFigures) -> str:
    """Say whether the built-in generator and a witness agree, and if not, why."""
    name = comparison.witness
    busy = (
        f"the built-in generator was {own.client_busy:.0%} busy and the server under it {own.server_busy:.0%}, "
        f"{name} {other.client_busy:.0%} and the server {other.server_busy:.0%}"
    ).replace("%", " %")
    ratio = f"{_ratio(comparison.rate)} of {name}'s"
    match comparison.finding:
        case "no-figures":
            return f"{name}: nothing can be claimed, {_lack(own, other)}."
        case "agree":
            return f"{name} agrees within the interval: the built-in generator's rate is {ratio}; {busy}."
        case "client-bound":
            return f"{name} differs, {ratio}, because a client was the limit: this compares the clients; {busy}."
        case "server-bound":
            return (
                f"{name} DISAGREES, {ratio}, though the server was the limit under both: one of them counts wrong, or "
                "gives the server other work, as by bunching; the server's CPU per request is "
                f"{_ratio(comparison.server_cpu_per_request)} of that under {name}; {busy}."
            )
        case "unsaturated":
            return (
                f"{name} differs, {ratio}, and no CPU was busy enough to be the limit: both sides waited, or other "
                f"programs had their CPUs; {busy}."
            )


def _lack(own: ClientFigures, other: ClientFigures) -> str:
    """Say who has no figures."""
    silent = [client for client in (own, other) if not client.rate_rps]
    if not silent:
        return "because too few rounds have figures of both"
    return " and ".join(f"because {_name(client)} got no correct reply ({_kinds(client)})" for client in silent)


def _kinds(client: ClientFigures) -> str:
    return ", ".join(f"{count:,} {figures.printable(kind)}" for kind, count in client.errors.items()) or "no errors"


def _name(client: ClientFigures) -> str:
    return _NAMES.get(client.client, client.client)


def _row(client: ClientFigures, comparison: Comparison | None) -> Sequence[str]:
    rate, per_cpu = (comparison.rate, comparison.rate_per_cpu) if comparison else (None, None)
    return [
        _name(client),
        figures.number(client.rate_rps, 0),
        figures.NONE if rate is None else figures.ratio(rate),
        figures.number(client.rate_per_cpu_s, 0),
        figures.NONE if per_cpu is None else figures.ratio(per_cpu),
        f"{client.client_busy * 100:.0f} %",
        f"{client.server_busy * 100:.0f} %",
        figures.number(client.server_us_per_request, 1),
        f"{sum(client.errors.values()):,}",
    ]


def _ratio(ratio: Estimate) -> str:
    if ratio.value is None:
        return figures.NONE
    decimals = figures.ratio_decimals(ratio)
    return f"{figures.number(ratio.value, decimals)} ({figures.interval(ratio, decimals)})"
