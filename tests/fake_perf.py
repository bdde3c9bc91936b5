"""A perf that fails as a test wants it to, and needs no right."""

import os
import stat
import sys
from pathlib import Path

_PERF = f"""#!{sys.executable}
import os, pathlib, signal, sys, time
here = pathlib.Path(__file__).parent
signal.signal(signal.SIGINT, lambda *_: os._exit(0))
if sys.argv[1] == "record":
    number = len(list(here.glob("record-*")))
    (here / f"record-{{number}}").write_text(str(time.monotonic_ns()))
    data = pathlib.Path(sys.argv[sys.argv.index("-o") + 1])
    if number:
        data.touch()
%s
else:
    began_ns = int((here / "record-1").read_text())
    (here / "script").touch()
%s
"""
OBEYS = """
for order in sys.stdin:
    sys.stdout.write("ack\\n\\0")
    sys.stdout.flush()
"""
"""Records nothing, until it is ended. ``number`` is 0 for the trial, and 1 for what is kept in ``data``."""


def fake_perf(folder: Path, record: str = OBEYS, script: str = "pass") -> str:
    """Make a perf that does what these say when it is to record, and to print; return the PATH with it.

    There is a file ``script`` in the folder when it has begun to print; ``began_ns`` is when it began to record.
    """
    folder.mkdir()
    program = folder / "perf"
    program.write_text(_PERF % (_indented(record), _indented(script)))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return f"{folder}:{os.environ['PATH']}"


def _indented(code: str) -> str:
    return "".join(f"    {line}\n" for line in code.splitlines())
