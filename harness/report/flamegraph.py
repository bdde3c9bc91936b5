"""A flame graph as one page that needs nothing else, and the frames that any page with one is drawn from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from harness.analysis.stacks import Node, Tree, is_kernel
from harness.report import figures

_PAGE: Final = Path(__file__).with_name("page")
_SCRIPT_SAFE: Final = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
"""What could end a script, or be taken for markup, as JSON has it."""


def render(title: str, tree: Tree, us_per_sample: float | None) -> str:
    """Return the page. ``us_per_sample`` is how many microseconds of a request a sample stands for; None: not told.

    A frame's width is its share of the samples; their order is alphabetical, and says nothing.
    """
    import jinja2  # noqa: PLC0415  only this command of many needs it

    left_out = ""
    if tree.left_out:
        left_out = f" {figures.plural(tree.left_out, 'frame')} too thin to be seen are left out."
    loader = jinja2.FileSystemLoader(_PAGE)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.get_template("flamegraph.html").render(
        title=title,
        samples=figures.plural(tree.root.samples, "sample"),
        left_out=left_out,
        style=_read("flamegraph.css") + _read("flame.css"),
        script=_read("flame.js"),
        frames=frames(tree.root, us_per_sample),
    )


def frames(root: Node, us_per_sample: float | None) -> str:
    """Return what the script in the page draws, as JSON in which nothing ends a script."""
    data = msgspec.json.encode({"root": _node(root), "us": us_per_sample}).decode()
    for char, escaped in _SCRIPT_SAFE.items():
        data = data.replace(char, escaped)
    return data


def _node(node: Node) -> Sequence[object]:
    """Return name, samples, whether it is the kernel's, and children: short, as there are thousands."""
    return [node.name, node.samples, int(is_kernel(node.name)), [_node(child) for child in node.children]]


def _read(name: str) -> str:
    return (_PAGE / name).read_text(encoding="utf-8")
