"""Fingerprints: a short hash of the content of a case, the same on every machine and in every run.

Two runs compare a case only if it has the same content in both, whatever pytest called it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import lru_cache
from pathlib import PurePath
from types import MethodType, ModuleType
from typing import Any

_MOST_DEPTH = 20
_SHAPE, _CONTENT = 6, 14  # hexadecimal digits
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")

Write = Callable[[bytes], object]


def fingerprint(content: Mapping[str, object]) -> str | None:
    """Return a hash of named values, ``SHAPE-CONTENT``; None if there are none.

    The shape stands for the names, and for the keys and fields of the values: see `comparable`.

    Numbers, texts, bytes, containers, dataclasses, attrs classes, enums, paths, patterns, arrays
    and models with ``model_dump`` (pydantic) count by their values; functions and classes by their
    names; other objects by their type and public plain attributes. What differs from process to
    process (an address in memory, the order of a set, the state of a client) does not count.

    Args:
        content: the values by name, in any order.
    """
    if not content:
        return None
    shape = tuple((name, *_names(value)) for name, value in sorted(content.items(), key=_first))
    return f"{_shape_of(shape)}-{_hash(dict(content), ())[:_CONTENT]}"


def _first(pair: tuple[str, object]) -> str:
    return pair[0]


@lru_cache(maxsize=256)  # the rows of a data set have few shapes
def _shape_of(names: tuple[tuple[str, ...], ...]) -> str:
    return _hash(names, ())[:_SHAPE]


def comparable(one: str | None, other: str | None) -> bool:
    """Whether two fingerprints are of contents with the same names.

    A data set that gets one more column has other fingerprints, which say nothing about its rows.
    """
    return None not in (one, other) and str(one)[:_SHAPE] == str(other)[:_SHAPE]


def _names(value: object) -> list[str]:
    """Return the names of the keys or fields of a value."""
    try:
        return _keys(value)
    except Exception:  # see `_feed`
        return []


def _keys(value: object) -> list[str]:
    if isinstance(value, Mapping):
        return sorted(map(str, value))
    kind = type(value)
    if isinstance(models := getattr(kind, "model_fields", None), Mapping):  # pydantic
        return sorted(models)
    declared = fields(kind) if is_dataclass(kind) else getattr(kind, "__attrs_attrs__", ())
    return sorted(each.name for each in declared)


def _feed(write: Write, value: Any, above: tuple[int, ...]) -> None:
    """Write a value as bytes that tell it apart from every other value.

    Args:
        write: takes the bytes.
        value: the value.
        above: ids of the containers around it: a value may contain itself.
    """
    kind = type(value)
    if kind is str:  # by far the most, so first: collection must stay fast
        _tell(write, "str", value)
        return
    try:
        _feed_value(write, value, above)
    except Exception as error:
        # An object of the code under test, which may raise anything: its type has to do.
        _tell(write, "unreadable", f"{type(value).__qualname__}: {type(error).__name__}")


def _feed_value(write: Write, value: Any, above: tuple[int, ...]) -> None:
    if isinstance(value, Enum):
        _tell(write, "enum", f"{type(value).__qualname__}.{value.name}")
    elif value is None or isinstance(value, (bool, str)):
        _tell(write, type(value).__name__, str(value))
    elif isinstance(value, (bytes, bytearray, memoryview)):
        _tell(write, "bytes", bytes(value))
    elif isinstance(value, (int, float, complex)):
        _tell(write, "number", _number(value))
    elif id(value) in above or len(above) >= _MOST_DEPTH:
        _tell(write, "deep", type(value).__qualname__)
    else:
        _feed_object(write, value, (*above, id(value)))


def _feed_object(write: Write, value: Any, above: tuple[int, ...]) -> None:
    if hasattr(type(value), "item") and getattr(value, "shape", None) == ():
        _feed(write, value.item(), above)  # a number of NumPy, or an array that holds only one
    elif type(value) is dict and {str}.issuperset(map(type, value)):
        _feed_all(write, "record", (part for key in sorted(value) for part in (key, value[key])),
                  above)  # fmt: skip
    elif isinstance(value, Mapping):
        if {str}.issuperset(map(type, value)):
            _feed_object(write, dict(value), above)
            return
        pairs = sorted((_hash(key, above), _hash(item, above)) for key, item in value.items())
        _feed_all(write, "mapping", (part for pair in pairs for part in pair), above)
    elif isinstance(value, AbstractSet):
        _feed_all(write, "set", sorted(_hash(item, above) for item in value), above)
    elif isinstance(value, (list, tuple)):
        _feed_all(write, "sequence", value, above)
    elif isinstance(value, re.Pattern):
        _feed_all(write, "pattern", (value.pattern, value.flags), above)
    elif isinstance(value, PurePath):
        _tell(write, "path", str(value))
    elif isinstance(value, MethodType):
        _feed_all(write, "method", (value.__qualname__, type(value.__self__)), above)
    elif isinstance(value, type) or isinstance(getattr(value, "__qualname__", None), str):
        _tell(write, "name", f"{getattr(value, '__module__', '')}.{value.__qualname__}")
    elif isinstance(value, ModuleType):
        _tell(write, "module", value.__name__)
    else:
        _feed_all(write, type(value).__qualname__, (_state(value),), above)


def _feed_all(write: Write, kind: str, parts: Iterable[Any], above: tuple[int, ...]) -> None:
    _tell(write, "begin", kind)
    for part in parts:
        _feed(write, part, above)
    _tell(write, "end", kind)


def _tell(write: Write, kind: str, value: str | bytes) -> None:
    data = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
    write(f"{kind}:{len(data)}:".encode("utf-8", "surrogatepass"))
    write(data)


def _hash(value: object, above: tuple[int, ...]) -> str:
    digest = hashlib.sha256()
    _feed(digest.update, value, above)
    return digest.hexdigest()


def _number(value: complex) -> str:
    """Return a number as text: 1 and 1.0 are one content (JSON and CSV do not tell them apart)."""
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return f"{int(value):x}"  # hexadecimal: Python limits the digits of decimal numbers
    return repr(float(value) if isinstance(value, float) else complex(value))


def _state(value: Any) -> object:
    """Return what an object holds."""
    kind = type(value)  # not the value itself: a mock has every attribute
    if hasattr(kind, "model_dump"):
        return value.model_dump()
    if hasattr(kind, "columns") and hasattr(kind, "shape"):  # a table of pandas or polars
        return [(name, value[name]) for name in value.columns], getattr(value, "index", None)
    if hasattr(kind, "__array__") or hasattr(kind, "__array_interface__"):
        return _array(value), getattr(value, "index", None)
    if is_dataclass(value):
        return {field.name: getattr(value, field.name, None) for field in fields(value)}
    if (attributes := getattr(kind, "__attrs_attrs__", None)) is not None:
        return {each.name: getattr(value, each.name, None) for each in attributes}
    held = {**_slots(value), **getattr(value, "__dict__", {})}
    if held:
        return {name: _plain(part) for name, part in held.items() if not name.startswith("_")}
    return _ADDRESS.sub("", repr(value))  # a date, a UUID, a decimal number


def _array(value: Any) -> object:
    """Return type, shape and bytes of an array, a tensor, a column or an image."""
    import numpy as np  # whoever has made an array has imported it

    array = np.asarray(value)
    if array.dtype.hasobject:  # its bytes are addresses
        return array.shape, array.tolist()
    return str(array.dtype), array.shape, array.tobytes()


def _slots(value: Any) -> dict[str, object]:
    """Return the values of an object whose class has ``__slots__``."""
    names = [
        name
        for kind in type(value).__mro__
        if not isinstance(slots := kind.__dict__.get("__slots__", ()), str)
        for name in slots
    ]
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _plain(part: object) -> object:
    """Return an attribute; of one that is no plain value only the type.

    A client, a session or a lock hangs together with half of the process, and changes all the time.
    """
    plain = (bool, int, float, complex, str, bytes, list, tuple, set, frozenset, dict, type(None))
    return part if isinstance(part, plain) else type(part).__qualname__
