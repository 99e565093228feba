"""What a test's parameters say about its case: id, cluster, content, slices."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from pytest_crucible._errors import DefinitionError
from pytest_crucible.events.fingerprint import fingerprint
from pytest_crucible.experiments.case_block import TAGS, case_text, slice_texts
from pytest_crucible.runs.experiment_definition import Definition


def case_of(item: pytest.Item, definition: Definition, params: Mapping[str, Any]) -> str | None:
    """Return the id that ``case=`` of the marker gives an item; None without it.

    Args:
        item: the test.
        definition: of its marker.
        params: its parameters, without those of conditions and trials.

    Raises:
        pytest.UsageError: the parameters have no such value, or it is no id.
    """
    return _named(item, "case", definition.case, params)


def facts_of(
    item: pytest.Item,
    definition: Definition,
    params: Mapping[str, Any],
    content: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what the record says about the case of an item, beside its id.

    Args:
        item: the test.
        definition: of its marker.
        params: its parameters, without those of conditions and trials.
        content: those of them that make the case, not the arm.

    Raises:
        pytest.UsageError: the parameters have no such cluster or slice.
    """
    facts: dict[str, Any] = {}
    known_by = fingerprint(content)
    if known_by is not None:
        facts["fingerprint"] = known_by
    cluster = _named(item, "cluster", definition.cluster, params)
    if cluster is not None:
        facts["cluster"] = cluster
    slices: dict[str, list[str]] = {}
    for name in definition.slices:
        texts = slice_texts(_slice(item, name, definition, params))
        if texts:
            slices[name] = texts
    if slices:
        facts["slices"] = slices
    return facts


def _named(item: pytest.Item, key: str, source: object, params: Mapping[str, Any]) -> str | None:
    if source is None:
        return None
    try:
        value = _call(source, params) if callable(source) else _follow(str(source), params)
        return case_text(key, value)
    except Exception as error:  # a function of the user may raise anything
        raise _usage_error(item, key, source, _reason(error)) from error


def _reason(error: Exception) -> str:
    ours = isinstance(error, DefinitionError)
    return str(error) if ours else f"{type(error).__name__}: {error}"


def _slice(
    item: pytest.Item, name: str, definition: Definition, params: Mapping[str, Any]
) -> object:
    if name == TAGS:
        return list(definition.tags)
    head, dot, _ = name.partition(".")
    if head in params:
        try:
            return _follow(name, params)
        except Exception as error:  # a property of the user's object may raise anything
            raise _usage_error(item, "slices", name, _reason(error)) from error
    if name in definition.metadata:
        return definition.metadata[name]
    if dot:
        raise _usage_error(item, "slices", name, _no_parameter(head, params))
    return None  # most likely a name that `Experiment.case` gets in its metadata


def _usage_error(item: pytest.Item, key: str, source: object, reason: str) -> pytest.UsageError:
    shown = getattr(source, "__qualname__", "a function") if callable(source) else repr(source)
    return pytest.UsageError(
        f"{item.nodeid}: @pytest.mark.experiment: {key}={shown}: {' '.join(reason.split())}"
    )


def _call(function: Any, params: Mapping[str, Any]) -> object:
    """Call a function with those of the parameters that it takes, by name."""
    wanted = inspect.signature(function).parameters.values()
    if any(each.kind is each.VAR_KEYWORD for each in wanted):
        return function(**params)
    named = [each.name for each in wanted if each.kind is not each.VAR_POSITIONAL]
    missing = [
        each.name for each in wanted if each.name not in params and each.default is each.empty
        and each.kind is not each.VAR_POSITIONAL
    ]  # fmt: skip
    if missing:
        raise DefinitionError(_no_parameter(missing[0], params))
    return function(**{name: params[name] for name in named if name in params})


def _follow(path: str, params: Mapping[str, Any]) -> object:
    """Return the value at a path: a parameter, then keys, attributes or indices."""
    head, *rest = path.split(".")
    if head not in params:
        raise DefinitionError(_no_parameter(head, params))
    value: Any = params[head]
    seen = head
    for part in rest:
        if isinstance(value, Mapping):
            if part not in value:
                raise DefinitionError(f"{seen} has no key {part!r}; it has {_some(list(value))}")
            value = value[part]
        elif isinstance(value, Sequence) and part.isdecimal():
            if int(part) >= len(value):
                raise DefinitionError(f"{seen} has {len(value)} items, none with the index {part}")
            value = value[int(part)]
        elif hasattr(value, part):
            value = getattr(value, part)
        else:
            raise DefinitionError(f"{seen} ({type(value).__name__}) has no attribute {part!r}")
        seen = f"{seen}.{part}"
    return value


def _no_parameter(name: str, params: Mapping[str, Any]) -> str:
    if not params:
        return f"no parameter {name!r}: the test has none"
    return f"no parameter {name!r}; the test has {_some(list(params))}"


def _some(names: Sequence[object]) -> str:
    shown = ", ".join(map(str, names[:8]))
    return f"{shown}, …" if len(names) > 8 else shown
