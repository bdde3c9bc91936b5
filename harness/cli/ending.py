"""How commands end, for a shell: the exit statuses."""

from typing import TYPE_CHECKING

from harness.__main__ import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from harness.compare import Result

EXIT_FAILED, EXIT_BAD_INPUT = 1, 2


def status_of(result: "Result") -> int:
    """Tell the exit status of a comparison."""
    if result.outcome == "interrupted":
        return EXIT_INTERRUPTED
    return 0 if result.outcome == "complete" and result.all_judged else EXIT_FAILED
