"""What the programs in this folder have in common: flags become a configuration, and the process the server."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from harness.errors import BadInput
from harness.peers.flags import EXIT_BAD_INPUT, Flags, parse
from harness.peers.peer import PEERS

Prepare = Callable[[Flags, Path], Sequence[str]]
"""Writes what a server needs into a folder of its own, and returns the arguments to start it with."""


def run(name: str, prepare: Prepare) -> NoReturn:
    """Become a peer, with the flags of this process. What is wrong is told in one line, with exit status 2."""
    peer = PEERS[name]
    try:
        path = peer.find()
        flags = parse(peer, sys.argv[1:])
        _become(path, prepare(flags, _folder(flags.log_file, name)))
    except BadInput as problem:
        sys.stderr.write(f"harness.peers.{name}: error: {problem}\n")
        sys.exit(EXIT_BAD_INPUT)


def _folder(log_file: Path, name: str) -> Path:
    """Make a folder beside the log file. Raises BadInput."""
    path = log_file.absolute().with_name(f"{log_file.name}.{name}")
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise BadInput(f"-o {log_file}: no folder {path} can be made: {error.strerror}") from None
    return path


def _become(path: str, arguments: Sequence[str]) -> NoReturn:
    try:
        os.execv(path, [path, *arguments])  # noqa: S606  the peer's program
    except OSError as error:
        raise BadInput(f"{path}: cannot be run: {error.strerror}") from None
