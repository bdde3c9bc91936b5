"""What strace(1) writes, as counts of system calls by name."""

import re
from collections import Counter

_RETURNED = re.compile(r"(?:\d+ +)?(?:<\.\.\. )?(?P<name>\w+)(?:\(| resumed>)(?P<arguments>.*)\) += (?P<result>.*)")
_RESTARTED = re.compile(r"<\.\.\. resuming interrupted (\w+) \.\.\.>")
_NO_CALL = re.compile(r"(?:\d+ +)?(?:---|\+\+\+) ")
"""A signal, or the end of a process."""
_BEGUN = "<unfinished ...>"
_INTERRUPTED = ("-1 EINTR", "? ")


def returned(text: str) -> Counter[str]:
    """Count the calls that have returned by the end of ``text``; a last line that is not whole has not.

    A call that a signal interrupts is not counted: it is made again, or goes on as ``restart_syscall``, which counts
    under the name of what it goes on with. Raises ValueError for a line that strace does not write.
    """
    found = Counter[str]()
    for line in text[: text.rfind("\n") + 1].splitlines():
        if line.endswith(_BEGUN) or _NO_CALL.match(line):
            continue
        call = _RETURNED.fullmatch(line)
        if call is None:
            raise ValueError(f"not a line of strace: {line!r}")
        if not call["result"].startswith(_INTERRUPTED):
            restarted = _RESTARTED.match(call["arguments"])
            found[restarted[1] if restarted else call["name"]] += 1
    return found
