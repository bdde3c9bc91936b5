"""What is looked at by one thread for all servers."""

from pathlib import Path

import pytest

from harness import output_bound, processes
from harness.output_bound import forget, watch

WITHIN_S = 20.0


class Printed:
    """A server that has printed a lot, and whose end is as told."""

    def __init__(self, path: Path, problem: OSError | None = None) -> None:
        with path.open("wb") as file:
            file.truncate(output_bound.MOST_BYTES + 1)  # all of it a hole, which takes no room on the disk
        self.log_path = self.stdout_path = self.stderr_path = path
        self.why: list[str] = []
        self._problem = problem

    def kill(self, why: str) -> None:
        """Take note of it, and fail where that is planned."""
        self.why.append(why)
        if self._problem:
            raise self._problem


def test_one_server_that_cannot_be_ended_is_told_and_the_others_are_looked_at_still(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    immortal, other = Printed(tmp_path / "a", PermissionError(1, "Operation not permitted")), Printed(tmp_path / "b")
    try:
        watch(immortal)
        assert processes.wait_until(lambda: bool(immortal.why), WITHIN_S)
        watch(other)
        assert processes.wait_until(lambda: bool(other.why), WITHIN_S)
    finally:
        forget(immortal)
        forget(other)
    assert len(immortal.why) == 1
    assert capsys.readouterr().err.endswith("a is no longer bounded: [Errno 1] Operation not permitted\n")
