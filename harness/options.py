"""Types of command line values, each with one line that says what would be right."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from harness import preload
from harness.errors import BadInput
from harness.schema import Library
from harness.testbed import cpus

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|)")
_PERCENTAGE = re.compile(r"(\d+(?:\.\d+)?)\s*%?")
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}


class Duration(click.ParamType[float]):
    """A time such as ``50ms``, ``60s``, ``2m`` or ``6h``; a bare number is seconds. Gives seconds."""

    name = "time"

    def __init__(self, smallest_s: float, largest_s: float) -> None:
        self._smallest_s = smallest_s
        self._largest_s = largest_s

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read the text, or pass a default through."""
        if isinstance(value, float):
            return value
        found = _DURATION.fullmatch(str(value).strip())
        duration_s = float(found[1]) * _UNITS_S[found[2]] if found else 0.0
        if not self._smallest_s <= duration_s <= self._largest_s:
            self.fail(
                f"{value!r} is not a time from {self._smallest_s:g}s to {self._largest_s:g}s, as in 50ms or 2m",
                param,
                ctx,
            )
        return duration_s


class Listing(click.ParamType[str]):
    """Several names, with commas between them, that their user takes apart."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002
        """Return the text as it is."""
        return str(value)


class Names(click.ParamType[tuple[str, ...]]):
    """Several of some names, with commas between them."""

    name = "names"

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = allowed

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Read the text; a name given twice counts once."""
        names = tuple(dict.fromkeys(part.strip() for part in str(value).split(",")))
        for name in names:
            if name not in self._allowed:
                self.fail(f"{name!r} is not one of {', '.join(self._allowed)}", param, ctx)
        return names

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:  # noqa: ARG002
        """Offer names that are not in the list yet."""
        return next_in_list(self._allowed, incomplete)


def next_in_list(names: Sequence[str], incomplete: str) -> list[CompletionItem[str]]:
    """Return how a list that is being typed, with commas, can go on: with each of ``names`` that is not in it."""
    before, comma, last = incomplete.rpartition(",")
    return [
        CompletionItem(before + comma + name)
        for name in names
        if name.startswith(last) and name not in before.split(",")
    ]


class Counts(click.ParamType[tuple[int, ...]]):
    """Several numbers, with commas between them, or just one."""

    name = "numbers"

    def __init__(self, largest: int, *, smallest: int = 1, several: bool = True) -> None:
        self._largest = largest
        self._smallest = smallest
        self.several = several

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Read the text; a number given twice counts once."""
        counts = []
        for part in str(value).split(",") if self.several else [str(value)]:
            text = part.strip()
            if not _is_number(text, self._smallest, self._largest):
                self.fail(f"{text!r} is not a number from {self._smallest} to {self._largest}", param, ctx)
            counts.append(int(text))
        return tuple(dict.fromkeys(counts))


class Ranges(Counts):
    """Several numbers, of which a range such as ``1..4`` names all."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Read the text; a number given twice counts once, and the smallest comes first."""
        found: set[int] = set()
        for part in str(value).split(","):
            first, dots, last = part.partition("..")
            ends = super().convert(f"{first},{last}" if dots else first, param, ctx)
            if ends[0] > ends[-1]:
                self.fail(f"{part.strip()!r} counts downwards; give {ends[-1]}..{ends[0]}", param, ctx)
            found.update(range(ends[0], ends[-1] + 1))
        return tuple(sorted(found))


class Number(click.ParamType[int]):
    """A number from 0 on."""

    name = "number"

    def __init__(self, largest: int) -> None:
        self._largest = largest

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read the text."""
        text = str(value).strip()
        if not _is_number(text, 0, self._largest):
            self.fail(f"{text!r} is not a number from 0 to {self._largest}", param, ctx)
        return int(text)


class Percentage(click.ParamType[float]):
    """A share such as ``2%``; a bare number is per cent, too. Gives the share, 0.02."""

    name = "percent"

    def __init__(self, smallest: float, largest: float) -> None:
        """``smallest`` and ``largest`` are in per cent."""
        self._smallest = smallest
        self._largest = largest

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read the text, or pass a default through."""
        if isinstance(value, float):
            return value
        found = _PERCENTAGE.fullmatch(str(value).strip())
        per_cent = float(found[1]) if found else 0.0
        if not self._smallest <= per_cent <= self._largest:
            self.fail(f"{value!r} is not a share from {self._smallest:g}% to {self._largest:g}%, as in 2%", param, ctx)
        return per_cent / 100


class CpuList(click.ParamType[tuple[int, ...]]):
    """A set of CPUs such as ``0-3`` or ``0,2-5``; whether they can be used, its user finds out."""

    name = "cpus"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Read the text."""
        try:
            return cpus.parse(str(value))
        except ValueError as error:
            self.fail(f"{value!r} names no CPUs: {error}; write them as in 0-3 or 0,2-5", param, ctx)


class Preload(click.ParamType[Library]):
    """A shared library to start servers with: ``LIBRARY=PATH``, or ``PATH``."""

    name = "library"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Library:
        """Find the library."""
        try:
            return preload.describe(str(value))
        except BadInput as error:
            self.fail(str(error), param, ctx)


class FileName(click.ParamType[Path]):
    """The name of a file or folder; whether it can be used, its user finds out."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Read the text, or pass a default through."""
        if not str(value):
            self.fail("an empty text names no file", param, ctx)
        return Path(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:  # noqa: ARG002
        """Let the shell offer files."""
        return [CompletionItem(incomplete, type="file")]


def takes_several(kind: click.ParamType[Any]) -> bool:
    """Tell whether a type's values are lists, with commas between what they hold."""
    return isinstance(kind, Listing | Names | CpuList) or (isinstance(kind, Counts) and kind.several)


def _is_number(text: str, smallest: int, largest: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len(str(largest)) and smallest <= int(text) <= largest
