"""Names and command lines become implementations, or one line that says what is wrong."""

import sys

import pytest

from harness.errors import BadInput
from harness.registry import ROOT, find, own


def test_every_runnable_folder_of_impls_is_found() -> None:
    names = [implementation.name for implementation in own()]
    assert "epoll_raw" in names
    assert names == sorted(path.parent.name for path in ROOT.glob("impls/*/__main__.py"))
    assert find("all") == own()


def test_names_come_in_the_order_given() -> None:
    first, second = find(" uvloop,epoll_raw")
    assert (first.name, second.name) == ("uvloop", "epoll_raw")
    assert second.argv == (sys.executable, "-m", "impls.epoll_raw")
    assert second.cwd == ROOT


def test_lean_is_the_same_one_with_a_flag() -> None:
    plain, lean = find("epoll_raw,epoll_raw+lean")
    assert (lean.name, lean.argv, lean.cwd) == ("epoll_raw+lean", (*plain.argv, "--lean"), plain.cwd)
    assert [one.name for one in find("all+lean")] == [f"{one.name}+lean" for one in own()]


def test_an_external_is_split_as_a_shell_does() -> None:
    [found] = find("none", ["mine=sh -c 'exec true'"])
    assert (found.name, found.argv, found.cwd, found.external) == ("mine", ("sh", "-c", "exec true"), None, True)


@pytest.mark.parametrize(
    ("names", "externals", "named"),
    [
        ("nosuch", [], "'nosuch'"),
        ("epoll_raw,", [], "''"),
        ("epoll_raw+leaner", [], "'epoll_raw+leaner'"),
        ("none+lean", [], "'none+lean'"),
        ("epoll_raw,epoll_raw", [], "epoll_raw: the name is given twice"),
        ("epoll_raw", ["epoll_raw=true"], "epoll_raw: the name is given twice"),
        ("none", [], "nothing to run"),
        ("none", ["true"], "NAME='COMMAND'"),
        ("none", ["a b=true"], "NAME='COMMAND'"),
        ("none", ["../a=true"], "NAME='COMMAND'"),
        ("none", [f"{'a' * 101}=true"], "1 to 100 letters"),
        ("none", ["a="], "empty"),
        ("none", ["a=sh -c 'unbalanced"], "split"),
        ("none", ["a=no-such-program-anywhere"], "no-such-program-anywhere"),
    ],
)
def test_bad_input_is_named(names: str, externals: list[str], named: str) -> None:
    with pytest.raises(BadInput) as caught:
        find(names, externals)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
