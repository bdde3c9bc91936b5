"""How commands end, for a shell: the exit statuses."""

from harness import compare as comparison
from harness.__main__ import EXIT_INTERRUPTED

EXIT_FAILED, EXIT_BAD_INPUT = 1, 2


def status_of(result: comparison.Result) -> int:
    """Tell the exit status of a comparison."""
    if result.outcome == "interrupted":
        return EXIT_INTERRUPTED
    return 0 if result.outcome == "complete" and result.all_judged else EXIT_FAILED
