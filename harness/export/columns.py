"""The columns of a table, made from the types of a run's files: a field that is added there is exported, too.

What stands within another is named after both: ``cpu_us_per_request_user``. Of a figure with an interval the value has
the name by itself, and its ends have ``_low`` and ``_high`` behind it.
"""

from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import inspect

from harness.schema import Estimate

Kind = Literal["text", "integer", "number", "boolean", "integers", "json"]
"""What a value is, where it is not None. ``json`` is a text, of what has no place in a table."""

_SIMPLE: dict[type[inspect.Type], Kind] = {
    inspect.StrType: "text",
    inspect.LiteralType: "text",
    inspect.IntType: "integer",
    inspect.FloatType: "number",
    inspect.BoolType: "boolean",
}


class Column(NamedTuple):
    """One column."""

    name: str
    kind: Kind
    value: Callable[[Any], Any]
    """Takes a row."""


def of(struct: type[msgspec.Struct], get: Callable[[Any], Any], prefix: str = "") -> list[Column]:
    """Make the columns of a type; ``get`` finds such a value, or None, in a row."""
    return list(_columns(struct, get, prefix))


def _columns(struct: type[msgspec.Struct], get: Callable[[Any], Any], prefix: str) -> Iterator[Column]:
    info = inspect.type_info(struct)
    if not isinstance(info, inspect.StructType):
        raise TypeError(f"{struct} is no struct")
    for field in info.fields:
        value, kind = _within(get, field.name), _without_none(field.type)
        is_itself = struct is Estimate and field.name == "value"
        name = prefix if is_itself else "_".join(filter(None, (prefix, field.encode_name)))
        if isinstance(kind, inspect.StructType):
            yield from _columns(kind.cls, value, name)
        elif type(kind) in _SIMPLE:
            yield Column(name, _SIMPLE[type(kind)], value)
        elif isinstance(kind, inspect.ListType) and isinstance(kind.item_type, inspect.IntType):
            yield Column(name, "integers", value)
        else:
            yield Column(name, "json", _as_json(value))


def _within(get: Callable[[Any], Any], name: str) -> Callable[[Any], Any]:
    def value(row: Any) -> Any:
        found = get(row)
        return None if found is None else getattr(found, name)

    return value


def _as_json(get: Callable[[Any], Any]) -> Callable[[Any], str | None]:
    def value(row: Any) -> str | None:
        found = get(row)
        return None if found is None else msgspec.json.encode(found).decode()

    return value


def _without_none(kind: inspect.Type) -> inspect.Type:
    """Return the type beside None, where there is one."""
    if isinstance(kind, inspect.UnionType):
        several = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
        return several[0] if len(several) == 1 else kind
    return kind
