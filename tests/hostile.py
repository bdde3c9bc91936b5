"""Files and texts as nobody who means well writes them: strategies of hypothesis, and what never reaches a terminal."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from hypothesis import strategies as st

MARKUP: Final = (
    "[red]x[/red]",
    "[/]",
    "[link=http://localhost]x",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "a\rb",
    "a\nb",
)
INVISIBLE: Final = ("\u202egnp.exe", "\u200b", "\ufeff", "\x00", "\x7f", "\x9b31m", "\u2028", "\U000e0041")
_RAW: Final = ("1e400", "-1e400", "1" + "0" * 400, "9" * 5000, "NaN", "Infinity", "-0", "1e-400", "1e308", "[" * 3000)
"""What no value in Python becomes when it is written as JSON."""
_VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, -1, 0, 1, 0.5, -0.5, 2**53, 2**53 + 1, 2**63, 2**64, 10**18, 1e300, "", [], {}, [[]]),
    *("x" * 5000, "x y " * 2000, "\ufffd", *MARKUP, *INVISIBLE),
)
_MARK = "<raw:{}>"
_BYTES = (b"\x00", b"\xff", b"\xed\xa0\x80", b"\n", b"\r", b"\x1b[2J", b"{", b"]", b'"', b"\\", b"1e999", b",", b"")


def broken_files(files: Mapping[str, bytes]) -> st.SearchStrategy[dict[str, bytes]]:
    """Break one to three of a folder's files, each in its bytes or, where it is JSON, in its structure."""
    return st.lists(st.sampled_from(sorted(files)), min_size=1, max_size=2).flatmap(
        lambda names: st.fixed_dictionaries({name: broken(name, files[name]) for name in names}).map(
            lambda changed: {**files, **changed}
        )
    )


def broken(name: str, data: bytes) -> st.SearchStrategy[bytes]:
    """Break one file; of a file of lines one line."""
    if name.endswith(".json"):
        return st.one_of(_bytes(data), _structure(data))
    if name.endswith(".jsonl"):
        return st.one_of(_bytes(data), _line(data, _structure))
    return st.one_of(_bytes(data), _line(data, _fields))


def _bytes(data: bytes) -> st.SearchStrategy[bytes]:
    """Cut, repeat, overwrite or insert somewhere."""
    places = st.tuples(st.integers(0, len(data)), st.integers(0, 200))
    return st.one_of(
        places.map(lambda at: data[: at[0]]),
        places.map(lambda at: data[: at[0]] + data[sum(at) :]),
        places.map(lambda at: data[: sum(at)] + data[at[0] :]),
        st.tuples(places, st.one_of(st.sampled_from(_BYTES), st.binary(max_size=8))).map(
            lambda cut: data[: cut[0][0]] + cut[1] + data[cut[0][0] + len(cut[1]) :]
        ),
        st.tuples(places, st.sampled_from(_BYTES)).map(lambda cut: data[: cut[0][0]] + cut[1] + data[cut[0][0] :]),
    )


def _line(data: bytes, change: Callable[[bytes], st.SearchStrategy[bytes]]) -> st.SearchStrategy[bytes]:
    lines = data.splitlines(keepends=True)
    return st.integers(0, len(lines) - 1).flatmap(
        lambda at: change(lines[at].rstrip(b"\n")).map(
            lambda line: b"".join([*lines[:at], line, b"\n", *lines[at + 1 :]])
        )
    )


def _fields(line: bytes) -> st.SearchStrategy[bytes]:
    """Change one field of a line of a histogram log."""
    fields = line.split(b",")
    hostile = st.one_of(
        st.sampled_from([text.encode() for text in (*MARKUP, *INVISIBLE, *_RAW[:4])]), st.binary(max_size=20)
    )
    return st.tuples(st.integers(0, len(fields) - 1), hostile).map(
        lambda change: b",".join([*fields[: change[0]], change[1], *fields[change[0] + 1 :]])
    )


def _structure(data: bytes) -> st.SearchStrategy[bytes]:
    """Replace, drop, repeat or add something in a value of JSON."""
    value = json.loads(data)
    paths = list(_paths(value))
    hostile = st.one_of(st.sampled_from(_VALUES), st.sampled_from(_RAW).map(_MARK.format), st.integers())
    return st.tuples(st.sampled_from(paths), st.sampled_from(["replace", "drop", "twice", "add"]), hostile).map(
        lambda change: _changed(value, *change)
    )


def _paths(value: Any) -> list[tuple[str | int, ...]]:
    found: list[tuple[str | int, ...]] = [()]
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        found += [(key, *rest) for rest in _paths(child)]
    return found


def _changed(value: Any, path: tuple[str | int, ...], how: str, hostile: Any) -> bytes:
    whole = [json.loads(json.dumps(value))]
    parent, key = whole, 0
    for step in path:
        parent, key = parent[key], step  # type: ignore[assignment]  # a path of keys and indices
    if how == "drop":
        del parent[key]
    elif how == "twice" and isinstance(key, str):
        parent[f"{key}<twice>"] = parent[key]
    elif how == "add" and isinstance(parent, dict):
        parent[hostile if isinstance(hostile, str) else "more"] = hostile
    else:
        parent[key] = hostile
    text = json.dumps(whole[0] if whole else "").replace("<twice>", "")
    for raw in _RAW:
        text = text.replace(f'"{_MARK.format(raw)}"', raw)
    return text.encode()
