"""Completion in bash, zsh and fish: click's own, which calls the program that made the script and prints no errors."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
)

from harness.registry import ROOT

_HERE = "{program}"
_CALL = f"{_HERE} 2>/dev/null)"
_BEHIND_OPTION = "| string replace --regex -- '^' (string match --regex -- '^--[^=]*=|' (commandline -t))"
"""Puts the option before each path, in fish; zsh's compset leaves it out of what is completed."""


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


class _WholeWords(_OwnProgram):
    """For a shell to which ``--impls=epo`` is one word, for which click offers only what is behind the equals sign."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        """Return whole words; of files and folders the script has the shell complete what is behind the sign."""
        found = super().get_completions(args, incomplete)
        option, equals, _ = incomplete.partition("=")
        if equals and option.startswith("--"):
            for item in found:
                if item.type == "plain":
                    item.value = option + equals + item.value
        return found


class Zsh(_WholeWords, ZshComplete):
    """Zsh."""

    source_template = (
        ZshComplete.source_template.replace("    (( ! $+commands[%(prog_name)s] )) && return 1\n", "")
        .replace("zsh_complete %(prog_name)s)", f"zsh_complete {_CALL}")
        .replace("_path_files", "compset -P 1 '--*='; _path_files")
    )


class Fish(_WholeWords, FishComplete):
    """Fish, where click would cut a list at its first comma."""

    source_template = (
        FishComplete.source_template.replace("-t) %(prog_name)s)", f"-t) {_CALL}")
        .replace('string split ","', 'string split --max 1 ","')
        .replace("$metadata[2];\n        else", f"$metadata[2] {_BEHIND_OPTION};\n        else")
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
