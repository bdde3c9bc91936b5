"""Where somebody starts who has typed ``harness`` and nothing else."""

from collections.abc import Iterator

from harness.cli.manual import Example

START = (
    Example("what on this machine would spoil the figures, and the command that mends it", "harness doctor"),
    Example("every server at every job, in four minutes; Ctrl-C keeps what was measured", "harness compare"),
    Example("a page with plots of it; compare has named the run's folder", "harness report results/RUN --html"),
    Example("the evidence behind what it says", "harness explain results/RUN short"),
    Example(
        "then choose: these servers, this job, this long",
        "harness compare --impls epoll_raw,trio --workloads short --budget 30s",
    ),
)
"""In the order in which a newcomer needs them."""


def lines() -> Iterator[str]:
    """Yield the text."""
    yield "Which TCP server is faster, by how much, how sure is that, and what does a request cost?\n"
    for number, example in enumerate(START, 1):
        yield f"  {number}. {example.command}\n     {example.purpose}"
    yield "\n'harness --help' lists all commands, 'harness COMMAND --help' has options and examples of each."
