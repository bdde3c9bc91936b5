"""Options that run each implementation in several variants: who runs, under which name, with what."""

from pathlib import Path

import pytest

from harness import plan
from harness.errors import BadInput
from harness.peers import PEERS, Peer
from harness.registry import Implementation, find
from harness.report import figures
from harness.schema import Library
from harness.servers import Server
from harness.variants import Axes
from tests.commands import run

LIBRARY = Library(name="fastsocket", path="/opt/libfsocket.so", size_bytes=1, sha256="0")


def names(found: list[Implementation]) -> list[str]:
    return [one.name for one in found]


@pytest.fixture(autouse=True)
def _peers_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Peer, "find", lambda peer: peer.name)


def test_each_implementation_runs_in_each_variant_side_by_side() -> None:
    found = find("epoll_raw,trio", ["mine=true"], axes=Axes(("shared", "percpu"), (), lean=True))
    assert names(found) == [
        f"{name}{mode}{lean}"
        for name in ("epoll_raw", "trio", "mine")
        for mode in ("", "+percpu")
        for lean in ("", "+lean")
    ]
    by_name = {one.name: one for one in found}
    plain = by_name["mine"]
    assert plain.argv == ("true",)
    assert by_name["mine+percpu+lean"].argv == ("true", "--listen", "percpu", "--lean")


def test_a_library_makes_one_more_of_each_variant() -> None:
    found = find("epoll_raw", axes=Axes(("shared", "percpu"), (LIBRARY,), lean=True))
    assert names(found) == [
        f"epoll_raw{mode}{library}{lean}"
        for mode in ("", "+percpu")
        for library in ("", "+fastsocket")
        for lean in ("", "+lean")
    ]
    assert [one.variant.preload for one in found] == [None, None, LIBRARY, LIBRARY] * 2
    assert found[2].argv == found[0].argv


def test_without_axes_all_run_as_they_are_named() -> None:
    assert names(find("epoll_raw+exclusive+lean,trio")) == ["epoll_raw+exclusive+lean", "trio"]


def test_a_name_may_have_what_no_axis_is_about() -> None:
    assert names(find("trio+lean", axes=Axes(("shared", "percpu")))) == ["trio+lean", "trio+percpu+lean"]
    assert names(find("trio+percpu", axes=Axes(lean=True))) == ["trio+percpu", "trio+percpu+lean"]


@pytest.mark.parametrize("name", sorted(PEERS))
def test_a_peer_has_no_listen_modes_and_runs_once_in_the_other_variants(name: str) -> None:
    assert names(find(name, axes=Axes(("reuseport", "percpu")))) == [name]
    assert names(find(name, axes=Axes(("shared",), (LIBRARY,), lean=True))) == [
        name, f"{name}+lean", f"{name}+fastsocket", f"{name}+fastsocket+lean"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "axes", "said"),
    [
        ("trio+percpu", Axes(("shared",)), "--impls 'trio+percpu': --listen says in which modes all run; leave +"),
        ("trio,trio+lean", Axes(lean=True), "--impls 'trio+lean': --lean adds the lean one to each; leave +lean out"),
        ("nginx+percpu", Axes(), "--impls 'nginx+percpu': nginx has no listen modes; leave +percpu out"),
        ("nginx+shared", Axes(), "--impls 'nginx+shared': a name by itself stands for --listen shared; leave"),
        ("trio+lean+percpu", Axes(), "--impls 'trio+lean+percpu': what may follow a name is +exclusive, "),
        ("trio+fastsocket", Axes(preloads=(LIBRARY,)), "--impls 'trio+fastsocket': what may follow a name is "),
        ("trio,trio", Axes(("percpu",)), "trio+percpu: the name is given twice"),
    ],
)  # fmt: skip
def test_what_is_asked_for_twice_or_cannot_be_is_named(wanted: str, axes: Axes, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        find(wanted, axes=axes)
    assert said in str(caught.value)


def test_two_libraries_need_two_names() -> None:
    with pytest.raises(BadInput, match="--preload 'fastsocket': the name is given twice; give LIBRARY=PATH"):
        Axes(preloads=(LIBRARY, LIBRARY))


def test_the_reference_is_the_first_variant_of_epoll_raw_where_the_plain_one_does_not_run() -> None:
    found = names(find("trio,epoll_raw", axes=Axes(("reuseport", "percpu"))))
    assert plan.choose_reference(found, None) == "epoll_raw+reuseport"
    assert plan.choose_reference([*found, "epoll_raw"], None) == "epoll_raw"
    assert plan.choose_reference(found, "trio+percpu") == "trio+percpu"


@pytest.mark.parametrize("command", ["compare", "conform", "cost"])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--listen", "sharded"], "'sharded' is not one of shared, exclusive, reuseport, percpu"),
        (["--impls", "trio+percpu", "--listen", "shared"], "leave +percpu out"),
        (["--preload", "/nosuch/lib.so"], "'/nosuch/lib.so': there is no such file"),
    ],
)
def test_bad_input_is_one_line(command: str, options: list[str], said: str) -> None:
    ended = run(command, *options)
    assert ended.is_one_line_of_error
    assert said in ended.err


@pytest.mark.parametrize("command", ["compare", "conform", "cost", "crosscheck", "profile", "scale", "soak", "torture"])
def test_a_mode_that_a_server_refuses_is_told_in_its_own_words_before_anything_starts(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server, "start", lambda _: pytest.fail("a server is started"))
    one = command in {"crosscheck", "soak", "torture"}
    named = ["uvloop+exclusive"] if one else ["uvloop", "--listen", "shared,exclusive"]
    where = ["--out", tmp_path] if command in {"compare", "profile", "scale"} else []
    ended = run(command, "--impl" if command == "torture" else "--impls", *named, *where)
    assert ended.is_one_line_of_error
    assert (
        "uvloop+exclusive: cannot be started: impls.uvloop: error: argument --listen: 'exclusive' is not" in ended.err
    )
    assert not list(tmp_path.iterdir())


def test_a_long_name_is_broken_before_a_plus() -> None:
    assert figures.name("epoll_raw+percpu+lean", 14) == "epoll_raw\n+percpu+lean"
    assert figures.name("epoll_raw+lean", 14) == "epoll_raw+lean"
    assert figures.name("an-external-without-an-end+lean", 14) == "an-external-\nwithout-an-end\n+lean"
