"""Real colours: for light and dark pages as CSS variables, for files the light ones.

The eight of implementations are told apart by those who are colour-blind, too (after Okabe and Ito, "Color universal
design", 2008, darker or lighter where the contrast to the page would be below 3:1).
"""

from typing import Final

from harness.report.plots import style

_MATCH: Final = "#010118"
"""A frame that was searched for, which the page alone has."""
_ROLES: Final = {
    style.TEXT: ("text", "#1b1f24", "#e6e8ea"),
    style.QUIET: ("quiet", "#57606a", "#9aa4ae"),
    style.LINE: ("line", "#d0d7de", "#3a424b"),
    style.PAGE: ("page", "#ffffff", "#14181c"),
    style.USER: ("user", "#2f5d8a", "#7fb2e5"),
    style.SYSTEM: ("system", "#8a5a00", "#d9a441"),
    style.SOFTIRQ: ("softirq", "#8c8c8c", "#a8b0b8"),
    style.WORK[0]: ("work-0", "#3f78b5", "#6ca6dd"),
    style.WORK[1]: ("work-1", "#c2603f", "#ec8a63"),
    style.WORK[2]: ("work-2", "#4b9a6b", "#78c795"),
    style.WORK[3]: ("work-3", "#8d62a6", "#c197d8"),
    style.WORK[4]: ("work-4", "#b8922f", "#e3c15f"),
    style.KERNEL: ("kernel", "#f5c896", "#744a17"),
    style.PROGRAM: ("program", "#bcd6f0", "#2b4c70"),
    _MATCH: ("match", "#8e3bb0", "#cf8be6"),
    style.GREY: ("grey", "#8b949e", "#7d8790"),
}
_IMPLEMENTATIONS: Final = (
    ("#0072b2", "#56a9e0"),
    ("#d55e00", "#f0803c"),
    ("#007a59", "#2fc79a"),
    ("#a8508a", "#dd92bd"),
    ("#8f6b00", "#e0b000"),
    ("#1b1f24", "#e6e8ea"),
    ("#3d8fb5", "#8fd0f5"),
    ("#7a7f00", "#d8d84a"),
)

Names = dict[str, int]
"""Which colour an implementation has, by its name: the same in all runs of a page."""


def numbered(names: list[str]) -> Names:
    """Give each name a colour, in the order in which they come first."""
    return {name: index % style.MOST_COLOURS for index, name in enumerate(dict.fromkeys(names))}


def variables(*, dark: bool) -> dict[str, str]:
    """Return the page's variables and their colours."""
    found = {name: one[dark] for name, *one in _ROLES.values()}
    return found | {f"impl-{index}": pair[dark] for index, pair in enumerate(_IMPLEMENTATIONS)}


def for_page(names: list[str], numbers: Names) -> dict[str, str]:
    """Return what stands in the page for each colour of a run whose implementations are ``names``, in its order."""
    return _replacing(names, numbers, {name: f"var(--{name})" for name in variables(dark=False)})


def for_file(names: list[str], numbers: Names) -> dict[str, str]:
    """Return the real colours likewise, for a light background."""
    return _replacing(names, numbers, variables(dark=False))


def _replacing(names: list[str], numbers: Names, shown: dict[str, str]) -> dict[str, str]:
    found = {colour: shown[name] for colour, (name, *_) in _ROLES.items()}
    return found | {style.colour(index): shown[f"impl-{numbers[name]}"] for index, name in enumerate(names)}
