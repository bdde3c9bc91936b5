"""JSON from anywhere as one of our types: what is not exactly that raises ValueError, and never anything else."""

import json
from typing import TypeVar

import msgspec

T = TypeVar("T")


def decode(data: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Read one value.

    Beside what msgspec refuses (wrong types, numbers out of range, NaN), a key that stands twice in an object is
    refused: which of the two counts would be a matter of taste.

    :raises ValueError: with what is wrong, in one line
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8: byte {error.start} is {data[error.start]:#04x}") from None
    try:
        value = decoder.decode(text)
        json.loads(text, object_pairs_hook=_check_keys, parse_int=_skip, parse_float=_skip)
    except RecursionError:
        raise ValueError("is nested deeper than any file of a run") from None
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
    return value


def _check_keys(pairs: list[tuple[str, object]]) -> None:
    if len({name for name, _ in pairs}) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"the key {name!r} stands there twice in one object")
            seen.add(name)


def _skip(_number: str) -> None:
    """Leave a number unread: one of more than 4300 digits is refused by int()."""
