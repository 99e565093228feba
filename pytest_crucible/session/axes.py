"""Arms from parametrized arguments: ``conditions="model"``, ``conditions=("model", "prompt")``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import pytest

from pytest_crucible._errors import DefinitionError
from pytest_crucible.runs.experiment_definition import Definition, check_arm
from pytest_crucible.stats.expression import PRODUCT


def axes_of(definition: Definition, params: Iterable[str]) -> tuple[str, ...]:
    """Return the parametrized arguments that make the arms of a test; none if names do.

    A string is an argument. Several strings are arguments if all of them are, else names of arms.

    Args:
        definition: of the marker.
        params: names of the test's parametrized arguments and fixtures.

    Raises:
        DefinitionError: there is no such argument, or only some of the strings are arguments.
    """
    valid = [name for name in params if not name.startswith("_")]
    for name in definition.axes:
        if name not in valid:
            close = "".join(
                f"did you mean {match!r}? " for match in get_close_matches(name, valid, 1)
            )
            raise DefinitionError(
                f"conditions={name!r}: the test has no parametrized argument {name!r}; {close}"
                f"valid: {', '.join(valid) or 'none, it is not parametrized'} "
                f"(for the name of one arm: condition={name!r})"
            )
    if definition.axes or definition.arms:
        return definition.axes
    known = [name for name in definition.conditions if name in valid]
    if not known:
        return ()
    if len(known) < len(definition.conditions):
        other = next(name for name in definition.conditions if name not in known)
        raise DefinitionError(
            f"conditions={definition.conditions!r}: {known[0]!r} is a parametrized argument and "
            f"{other!r} is not; name arguments only, or arms only (valid arguments: "
            f"{', '.join(valid)})"
        )
    return definition.conditions


@dataclass(frozen=True, slots=True)
class Split:
    """The arm that an item's parameters name, and what is left of its id.

    Attributes:
        condition: name of the arm.
        value: value of the argument; of several, a dictionary.
        rank: index of the value on each axis.
        rest: the item's id without the axes.
    """

    condition: str
    value: Any
    rank: tuple[int, ...]
    rest: str

    def without(self, nodeid: str, params_id: str) -> tuple[str, str]:
        """Remove the axes from a node id and from the text in its brackets."""
        head = nodeid.removesuffix(f"[{params_id}]")
        if head == nodeid:  # another plugin has changed the node id
            return nodeid, params_id
        return (f"{head}[{self.rest}]" if self.rest else head), self.rest


def split(item: pytest.Item, axes: tuple[str, ...]) -> Split:
    """Split an item's parameters into its arm and its case.

    Raises:
        DefinitionError: an axis is parametrized together with other arguments, so that its values
            have no ids of their own; or its id is hidden.
    """
    callspec: Any = item.callspec  # type: ignore[attr-defined]
    groups = _groups(item, callspec)
    ids: list[str] = list(callspec._idlist)
    if len(ids) != len(groups):
        raise DefinitionError(
            f"conditions={axes!r}: pytest gives some parameters no id, so arms have no names"
        )
    names, rest = {}, []
    for group, text in zip(groups, ids, strict=True):
        ours = [name for name in group if name in axes]
        if not ours:
            rest.append(text)
        elif len(ours) == len(group):
            names[min(axes.index(name) for name in group)] = _name(text, group, callspec.params)
        else:
            raise DefinitionError(
                f"conditions names {ours[0]!r}, which is parametrized together with "
                f"{next(name for name in group if name not in axes)!r}; give it a parametrize of "
                "its own, so that each case runs under each arm"
            )
    values = {name: callspec.params[name] for name in axes}
    arm = PRODUCT.join(names[place] for place in sorted(names))
    check_arm("conditions", arm)
    return Split(
        arm,
        values[axes[0]] if len(axes) == 1 else values,
        tuple(callspec.indices[name] for name in axes),
        "-".join(rest),
    )


def _name(text: str, group: tuple[str, ...], params: dict[str, Any]) -> str:
    """Return the id of a value; a text that pytest has escaped as it was, if it can be printed."""
    value = params[group[0]] if len(group) == 1 else None
    if not isinstance(value, str) or not value.isprintable():
        return text
    return value if value.encode("unicode_escape").decode("ascii") == text else text


def _groups(item: pytest.Item, callspec: Any) -> list[tuple[str, ...]]:
    """Return the names that were parametrized together, in the order of their ids."""
    together: dict[str, tuple[str, ...]] = {}
    for mark in item.iter_markers("parametrize"):
        names = mark.args[0] if mark.args else mark.kwargs["argnames"]
        parts = names.split(",") if isinstance(names, str) else names
        group = tuple(part.strip() for part in parts if part.strip())
        together.update(dict.fromkeys(group, group))
    return list(dict.fromkeys(together.get(name, (name,)) for name in callspec.params))


def stretch_of(item: pytest.Item) -> object:
    """Return what items have in common that may change places: function and wide parameters.

    pytest sorts items so that fixtures of modules, classes and the session are set up rarely.
    """
    callspec: Any = item.callspec  # type: ignore[attr-defined]
    wide = [
        (name, callspec.indices[name])
        for name, scope in callspec._arg2scope.items()
        if scope.value != "function"
    ]
    return item.parent, getattr(item, "originalname", item.name), tuple(sorted(wide))
