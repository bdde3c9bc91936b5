"""A summary as tables for a terminal of WIDTH columns, with the evidence under each and one sentence at the end."""

from collections.abc import Sequence

from harness.report import cells, figures, tables
from harness.report.cells import CellFigures
from harness.report.environment import changed
from harness.report.figures import WIDTH
from harness.report.remarks import legend, remarks
from harness.report.sentence import sentence
from harness.schema import CellSummary, Summary


def render(summary: Summary) -> str:
    """Return the report: tables for each cell, then the sentence."""
    parts = [_cell(cell, summary.reference) for cell in cells.of(summary)]
    parts += [figures.wrap(text, WIDTH) for text in (legend(summary), *remarks(summary))]
    if summary.environment_changes:
        parts.append(changed(summary.environment_changes, WIDTH))
    parts.append(sentence(summary, WIDTH))
    return "\n\n".join(parts) + "\n"


def _cell(cell: CellFigures, reference: str) -> str:
    heading = f"{cell.cell.workload.upper()}: {cell.load}; {cell.ranking_in_words}"
    return "\n\n".join(
        [
            figures.wrap(heading, WIDTH, hanging="  "),
            *(table.text() for table in tables.of_cell(cell, reference)),
            "\n".join(_evidence(cell.entries)),
        ]
    )


def _evidence(entries: Sequence[CellSummary]) -> list[str]:
    names = [figures.printable(entry.impl) for entry in entries]
    width = max(map(len, names))
    return [
        figures.wrap(
            f"{entry.verdict}: {figures.printable(entry.evidence)}", WIDTH, f"  {name:<{width}}  ", " " * (width + 4)
        )
        for name, entry in zip(names, entries, strict=True)
    ]
