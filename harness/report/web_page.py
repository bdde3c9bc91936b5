"""Runs as one page that needs nothing else: no network, no other file."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import jinja2

from harness.analysis.environment import settings
from harness.analysis.stacks import Folded
from harness.environment_schema import Environment
from harness.profile_schema import Profile
from harness.report import again, cells, explain, figures, plan, profile, remarks, scaling, sentence, tables
from harness.report.cells import CellFigures
from harness.report.plots import drawing, kinds, palette
from harness.report.plots.plot import Plot
from harness.report.tables import Table
from harness.results import StoredRun
from harness.schema import CellSummary, Plan, Slice, Summary

MOST_BYTES: Final = 1_900_000
"""Of a page: browsers open larger ones, but people would not send them."""
_PAGE: Final = Path(__file__).with_name("page")
_MOST_IN_TITLE: Final = 6
_MOST_COLUMNS: Final = 8
_NOT_FOR_IDS: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class Comparison:
    """A stored comparison, judged, with its plots drawn."""

    run: StoredRun
    summary: Summary

    @cached_property
    def names(self) -> list[str]:
        """Names of the implementations, as they are."""
        return [one.name for one in self.run.plan.implementations]

    @cached_property
    def plots(self) -> list[tuple[Plot, str]]:
        """All plots with their drawings."""
        return [(plot, drawing.draw(plot)) for plot in kinds.all_plots(self.run, self.summary)]

    @cached_property
    def explained(self) -> dict[str, str]:
        """The evidence in full, by the cells' keys."""
        slices: dict[str, list[Slice]] = {}
        for piece in self.run.slices:
            slices.setdefault(piece.cell, []).append(piece)
        return {
            cell.key: explain.render(self.run.plan, slices.get(cell.key, []), self.summary, cell.key)
            for cell in self.run.plan.cells
        }


@dataclass(frozen=True)
class Profiled:
    """A stored profile."""

    path: Path
    profile: Profile
    plan: Plan
    environment: Environment
    folded: Mapping[str, Counter[Folded]]
    """The stacks of each implementation, as far as there are any."""

    @cached_property
    def names(self) -> list[str]:
        """Names of the implementations, as they are."""
        return [one.impl for one in self.profile.implementations]

    @cached_property
    def plots(self) -> list[tuple[Plot, str]]:
        """All plots with their drawings."""
        return [(plot, drawing.draw(plot)) for plot in kinds.of_profile(self.profile, self.folded)]


Section = Comparison | Profiled


@dataclass(frozen=True)
class Detail:
    """What a page has beside verdicts, figures and tables, which no page lacks."""

    evidence: bool = True
    most_plots: int | None = None
    """None: all."""


_DETAILS: Final = (Detail(), Detail(evidence=False), *(Detail(evidence=False, most_plots=most) for most in (60, 20, 0)))
"""The first with which a page is not too large is taken, or the last."""


def render(sections: Sequence[Section]) -> str:
    """Return the page of one run, or of several one after another."""
    text = ""
    for detail in _DETAILS:
        text = _rendered(sections, detail)
        if len(text.encode()) <= MOST_BYTES:
            break
    return text


def files(section: Section) -> dict[str, str]:
    """Return the plots of a run as SVG files, by name."""
    colours = palette.for_file(section.names, palette.numbered(section.names))
    return {f"{plot.name}.svg": drawing.for_file(drawn, colours, plot.name) for plot, drawn in section.plots}


def _rendered(sections: Sequence[Section], detail: Detail) -> str:
    numbers = palette.numbered([name for section in sections for name in section.names])
    ids = _ids(sections)
    shown = [_section(section, name, numbers, detail) for section, name in zip(sections, ids, strict=True)]
    several = len(shown) > 1
    return _template().render(
        title=f"percore: {len(shown)} runs" if several else shown[0]["title"],
        sections=shown,
        several=several,
        style=_read("report.css") + _read("flame.css"),
        light=palette.variables(dark=False),
        dark=palette.variables(dark=True),
        script=_read("report.js") + _read("flame.js"),
    )


def _ids(sections: Sequence[Section]) -> list[str]:
    """Return an id for each section: its folder's name, and a number, as two folders may have the same."""
    names = (_path(section).resolve().name for section in sections)
    return [f"run{number}-{_id(name)}" for number, name in enumerate(names, 1)] if len(sections) > 1 else ["run"]


def _id(text: str) -> str:
    return _NOT_FOR_IDS.sub("-", text.lower()).strip("-")


def _path(section: Section) -> Path:
    return section.run.path if isinstance(section, Comparison) else section.path


def _section(section: Section, name: str, numbers: palette.Names, detail: Detail) -> dict[str, Any]:
    if isinstance(section, Comparison):
        return _comparison(section, name, numbers, detail)
    return _profile(section, name, numbers, detail)


def _comparison(section: Comparison, name: str, numbers: palette.Names, detail: Detail) -> dict[str, Any]:
    run, summary = section.run, section.summary
    colours = palette.for_page(section.names, numbers)
    plots = [_figure(plot, drawn, colours, name) for plot, drawn in section.plots[: detail.most_plots]]
    found = list(cells.of(summary))
    return {
        "id": name,
        "folder": figures.printable(run.path.resolve().name),
        "title": _title(section),
        "verdict": _verdict(summary),
        "remarks": [*remarks.remarks(summary), *summary.environment_changes, *map(figures.printable, run.notes)],
        "matrix": _matrix(found, section.names, summary.reference),
        "cells": [_cell(section, cell, plots, name, detail) for cell in found],
        "plots": [plot for plot in plots if not plot["cell"]],
        "left_out": len(section.plots) - len(plots),
        "text": scaling.render(summary) if summary.scaling else "",
        "legend": remarks.legend(summary),
        "plan": plan.render(run.plan),
        "again": again.command(run.plan),
        "environment": list(settings(run.environment)),
    }


def _profile(section: Profiled, name: str, numbers: palette.Names, detail: Detail) -> dict[str, Any]:
    colours = palette.for_page(section.names, numbers)
    plots = [_figure(plot, drawn, colours, name) for plot, drawn in section.plots[: detail.most_plots]]
    return {
        "id": name,
        "folder": figures.printable(section.path.resolve().name),
        "verdict": profile.sentences(section.profile),
        "remarks": (),
        "matrix": None,
        "title": f"Where the core goes in {figures.listing([figures.printable(one) for one in section.names])}",
        "text": profile.render(section.profile),
        "plan": plan.render(section.plan),
        "again": again.command(section.plan),
        "plots": plots,
        "left_out": len(section.plots) - len(plots),
        "cells": [],
        "environment": list(settings(section.environment)),
    }


def _title(section: Comparison) -> str:
    names = [figures.printable(name) for name in section.names]
    workloads = dict.fromkeys(cell.workload for cell in section.run.plan.cells)
    who = figures.listing(names) if len(names) <= _MOST_IN_TITLE else f"{len(names)} implementations"
    return f"{who} on {figures.listing(list(workloads))}"


def _verdict(summary: Summary) -> list[str]:
    first, *others = sentence.parts(summary)
    return [first[0].upper() + first[1:], *others] if first.startswith("on ") else [first, *others]


def _figure(plot: Plot, drawn: str, colours: dict[str, str], section: str) -> dict[str, Any]:
    name = f"{section}-{plot.name}"
    return {
        "id": name,
        "cell": plot.cell,
        "title": plot.title,
        "caption": plot.caption,
        "is_wide": plot.is_wide,
        "svg": drawing.for_page(drawn, colours, name),
        "frames": plot.frames,
        "columns": plot.columns,
        "rows": plot.rows,
    }


def _cell(
    section: Comparison, cell: CellFigures, plots: Iterable[dict[str, Any]], name: str, detail: Detail
) -> dict[str, Any]:
    return {
        "id": f"{name}-{cell.name}",
        "workload": cell.cell.workload,
        "load": cell.load,
        "ranking": cell.ranking_in_words,
        "plots": [plot for plot in plots if plot["cell"] == cell.key],
        "tables": [_table(table) for table in tables.of_cell(cell, section.summary.reference)],
        "evidence": [
            (figures.printable(one.impl), one.verdict, figures.printable(one.evidence)) for one in cell.entries
        ],
        "explained": section.explained[cell.key] if detail.evidence else "",
        "key": cell.key,
    }


def _table(table: Table) -> dict[str, Any]:
    marks = table.marks or [""] * len(table.names)
    return {
        "headers": [header.split("\n") for header in table.headers],
        "alignment": table.alignment,
        "rows": [
            (mark.strip(), figures.printable(name), [figure.split("\n") for figure in row])
            for mark, name, row in zip(marks, table.names, table.rows, strict=True)
        ],
    }


def _matrix(found: Sequence[CellFigures], names: Sequence[str], reference: str) -> dict[str, Any]:
    """Return the ratio of each implementation in each cell, of what the cell is ranked by: a row for each cell.

    Where there are many implementations they have the rows, as a table can be longer than wide.
    """
    rows = []
    for cell in found:
        entries = {entry.impl: entry for entry in cell.entries}
        rows.append([_in_matrix(cell, entries.get(name), is_reference=name == reference) for name in names])
    is_turned = len(names) > max(_MOST_COLUMNS, len(found))
    return {
        "names": [figures.printable(name) for name in names],
        "cells": found,
        "is_turned": is_turned,
        "rows": list(zip(*rows, strict=True)) if is_turned else rows,
    }


def _in_matrix(cell: CellFigures, entry: CellSummary | None, *, is_reference: bool) -> dict[str, Any]:
    if entry is None:
        return {"rank": "", "value": figures.NONE, "note": "takes no part", "tie": False}
    ratio, rank = cell.ratio(entry), cell.ranks.get(entry.impl, "")
    if ratio.value is None:
        return {"rank": rank, "value": figures.NONE, "note": entry.verdict, "tie": False}
    if is_reference:
        return {"rank": rank, "value": "reference", "note": "", "tie": False}
    decimals = figures.ratio_decimals(ratio)
    value, interval = figures.number(ratio.value, decimals), figures.interval(ratio, decimals)
    return {"rank": rank, "value": value, "note": interval, "tie": ratio.holds(1.0)}


def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(_PAGE)
    environment = jinja2.Environment(
        loader=loader,
        autoescape=True,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("report.html")


def _visible(value: object) -> object:
    """Escape what is no visible character, or turns the direction of writing, whoever forgot it."""
    return figures.lines_as_they_are(value) if type(value) is str else value


def _read(name: str) -> str:
    return (_PAGE / name).read_text(encoding="utf-8")
