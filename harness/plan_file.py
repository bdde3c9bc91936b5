"""A plan as a file: options of a command, written down in TOML, so that they can be kept, passed on and explained.

The keys are the command's own options, and their values are read by the options' own types: what the command line
takes and what it says of anything else, the file does too, with its name and the line.
"""

import difflib
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import click
from click.core import ParameterSource

from harness import plain_file, toml_lines
from harness.errors import BadInput
from harness.options import Counts, CpuList, Duration, Number, Percentage, takes_several
from harness.schema import PlanSource

NO_KEYS: Final = frozenset({"plan", "resume", "dry-run", "quiet", "help"})
"""Options that say what is to be done with a plan, and are no part of one."""
_MOST_BYTES: Final = 2**16
_TAKE_NUMBERS: Final = (Duration, Counts, Number, Percentage, CpuList, click.IntRange)
_OPTION = re.compile(r"--([a-z-]+)\b")


@dataclass(frozen=True, slots=True)
class PlanFile:
    """What a plan file says, read for one command."""

    path: Path
    sha256: str
    lines: dict[str, int]
    """Where each key stands."""
    values: dict[str, Any]
    """What each says, as the command line would: texts, tuples of them, True."""

    @classmethod
    def read(cls, path: Path, context: click.Context) -> Self:
        """Read a file, and see that the command takes all that it says.

        Raises BadInput, which names file, line, and what would be right.
        """
        return cls.parse(path, _data(path), context)

    @classmethod
    def parse(cls, path: Path, data: bytes, context: click.Context) -> Self:
        """Take what a file holds, as ``read``."""
        text = _text(path, data)
        options = keys(context.command)
        lines: dict[str, int] = {}
        values: dict[str, Any] = {}
        try:
            for key, value, line in toml_lines.entries(text):
                where = f"{path}:{line}"
                option = _option(options, key, value, context, where)
                if key in lines:
                    raise BadInput(f"{where}: {key}: stands on line {lines[key]} already; leave one of them out")
                lines[key] = line
                try:
                    values[key] = _as_typed(option, value)
                    option.type_cast_value(context, values[key])
                except (click.BadParameter, ValueError) as error:
                    why = error.message if isinstance(error, click.BadParameter) else str(error)
                    raise BadInput(f"{where}: {key}: {why.rstrip('.')}") from None
        except toml_lines.NotToml as error:
            raise BadInput(f"{path}:{error.line}: is not TOML: {error}") from None
        return cls(path, hashlib.sha256(data).hexdigest(), lines, values)

    def take_effect(self, context: click.Context) -> None:
        """Let what it says stand where the command line says nothing."""
        names = {key: option.name or "" for key, option in keys(context.command).items()}
        context.default_map = {names[key]: value for key, value in self.values.items()}

    def source(self, context: click.Context) -> PlanSource:
        """Tell, for the run's record, what the command line has put in place of what the file says, or beside it."""
        options = keys(context.command)
        overridden = tuple(key for key in self.lines if _is_given(context, options[key]))
        added = tuple(key for key in options if key not in self.lines and _is_given(context, options[key]))
        return PlanSource(file=str(self.path), sha256=self.sha256, overridden=overridden, added=added)

    @contextmanager
    def blamed(self, context: click.Context) -> Iterator[None]:
        """Name file and line of each option that what is wrong speaks of, where the file has given it."""
        try:
            yield
        except BadInput as error:
            spoken_of, options = dict.fromkeys(_OPTION.findall(str(error))), keys(context.command)
            given = [key for key in spoken_of if key in self.lines and not _is_given(context, options[key])]
            if not given:
                raise
            blamed = _OPTION.match(str(error))
            before = f"{self.path}:{self.lines[given.pop(0)]}: " if blamed and blamed[1] == given[0] else ""
            after = "".join(f"; --{key} is from {self.path}:{self.lines[key]}" for key in given)
            raise BadInput(f"{before}{error}{after}") from None


def keys(command: click.Command) -> dict[str, click.Option]:
    """Return the options of a command that a plan may have, each by its key: its long name without the hyphens."""
    named = {option.opts[0].removeprefix("--"): option for option in command.params if isinstance(option, click.Option)}
    return {key: option for key, option in named.items() if key not in NO_KEYS}


def _data(path: Path) -> bytes:
    try:
        with plain_file.opened(path) as file:
            data = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise BadInput(f"--plan {path}: there is no such file; give the path of one such as plans/quick.toml") from None
    if len(data) > _MOST_BYTES:
        raise BadInput(f"--plan {path}: is larger than {_MOST_BYTES // 1024} KiB, which no plan is")
    return data


def _text(path: Path, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadInput(f"{path}:{line}: is not UTF-8, as TOML is: {data[error.start]:#04x}") from None


def _option(
    options: dict[str, click.Option], key: str, value: object, context: click.Context, where: str
) -> click.Option:
    if isinstance(value, dict):
        raise BadInput(f"{where}: {key!r} is a table; a plan has none, only lines such as budget = '60s'")
    if key in options:
        return options[key]
    near = difflib.get_close_matches(key.replace("_", "-").lstrip("-"), options, 1)
    advice = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(options)}"
    name = f"harness {context.info_name}"
    if key in NO_KEYS:
        advice = f"give --{key} to {name} itself"
    raise BadInput(f"{where}: unknown key {key!r} for {name}; {advice}")


def _as_typed(option: click.Option, value: Any) -> Any:
    """Return what the command line would have said. Raises ValueError for what it could not."""
    if option.is_flag:
        if not isinstance(value, bool):
            raise ValueError(f"{_shown(value)} is neither true nor false")
        return value
    if not isinstance(value, list):
        text = _as_text(option, value)
        return (text,) if option.multiple else text
    if not option.multiple and not takes_several(option.type):
        raise ValueError(f"{_shown(value)} is a list; give one value")
    if not value:
        raise ValueError("the list is empty; name something, or leave the line out")
    texts = tuple(_as_text(option, one) for one in value)
    return texts if option.multiple else ",".join(texts)


def _as_text(option: click.Option, value: Any) -> str:
    if isinstance(value, str):
        return value
    takes_numbers = isinstance(option.type, _TAKE_NUMBERS)
    if takes_numbers and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"{_shown(value)} is not a {'number or a ' if takes_numbers else ''}text; put it in quotes")


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, str | int | float | list) else str(value)


def _is_given(context: click.Context, option: click.Option) -> bool:
    return context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
