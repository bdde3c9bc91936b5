"""What was different about the machine, as a paragraph for people."""

from collections.abc import Sequence

from harness.report import figures


def changed(sentences: Sequence[str], width: int) -> str:
    """Return what changed on the machine while the run went on; empty when nothing did."""
    return _block("What changed during the run:", sentences, width)


def different(sentences: Sequence[str], width: int) -> str:
    """Return what the two runs were measured on differently; says so when it was nothing that they tell."""
    if not sentences:
        return "Both runs were measured on the same, as far as they tell."
    return _block("What the runs were measured on differently:", sentences, width)


def _block(heading: str, sentences: Sequence[str], width: int) -> str:
    lines = [figures.wrap(figures.printable(sentence), width, "  ", "    ") for sentence in sentences]
    return "\n".join([heading, *lines]) if lines else ""
