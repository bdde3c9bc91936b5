"""Completion in bash, zsh and fish: click's own, which calls the program that made the script and prints no errors."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from click.shell_completion import (
    BashComplete,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
)

from harness.registry import ROOT

_HERE = "{program}"
_CALL = f"{_HERE} 2>/dev/null)"


class _OwnProgram(ShellComplete):
    """A script that calls this very program, wherever the shell is then; click's looks on the PATH, or where it is."""

    def source(self) -> str:
        return super().source().replace(_HERE, _program())


class Bash(_OwnProgram, BashComplete):
    """Bash, to which an equals sign is a word of its own."""

    source_template = BashComplete.source_template.replace("$1)", _CALL)

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words, with ``--impls = epo`` as ``--impls epo``."""
        words, incomplete = super().get_completion_args()
        return words[:-1] if words and words[-1] == "=" else words, incomplete


class Zsh(_OwnProgram, ZshComplete):
    """Zsh."""

    source_template = ZshComplete.source_template.replace(
        "    (( ! $+commands[%(prog_name)s] )) && return 1\n", ""
    ).replace("zsh_complete %(prog_name)s)", f"zsh_complete {_CALL}")


class Fish(_OwnProgram, FishComplete):
    """Fish, where click would cut a list at its first comma."""

    source_template = FishComplete.source_template.replace("-t) %(prog_name)s)", f"-t) {_CALL}").replace(
        'string split ","', 'string split --max 1 ","'
    )


SHELLS: Final[Mapping[str, type[ShellComplete]]] = {"bash": Bash, "zsh": Zsh, "fish": Fish}


def register() -> None:
    """Let click take these instead of its own."""
    for name, of_shell in SHELLS.items():
        add_completion_class(of_shell, name)


def _program() -> str:
    """Write the command that is running."""
    path = Path(sys.argv[0])
    if path.name == "__main__.py":
        return f"PYTHONPATH={shlex.quote(str(ROOT))} {shlex.quote(sys.executable)} -m harness"
    return shlex.quote(str(path.absolute()))
