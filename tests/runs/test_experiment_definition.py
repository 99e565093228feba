"""Definitions of experiments: every wrong argument is named in one line."""

from __future__ import annotations

import threading
from types import MappingProxyType
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible._errors import DefinitionError
from pytest_crucible.metrics.catalog import Metric
from pytest_crucible.runs.experiment_definition import (
    FAILURES,
    INCONCLUSIVE,
    KEYWORDS,
    LIBRARY,
    MARKER,
    OBEYED_BY,
    SCOPES,
    VALIDATE,
    Definition,
    Keywords,
    LibraryKeywords,
    define,
    obeyed,
)


def test_a_name_is_enough() -> None:
    """Everything but the name has a default."""
    assert define("e") == Definition(name="e")


def test_lists_become_tuples() -> None:
    """Conditions, tags and expectations may be given as any iterable of texts."""
    found = define("e", conditions=["a", "b"], tags=iter(["t"]), expect=("latency.p95 < 1",))
    assert (found.conditions, found.tags, found.expect) == (
        ("a", "b"),
        ("t",),
        ("latency.p95 < 1",),
    )


@pytest.mark.parametrize(
    ("given_", "failures"),
    [
        ({}, "fail"),
        ({"expect": ["success_rate > 0.9"]}, "record"),
        ({"pass_if": "8/10"}, "record"),
        ({"expect": ["success_rate > 0.9"], "failures": "fail"}, "fail"),
        ({"failures": "record"}, "record"),
    ],
)
def test_expectations_decide_unless_told_otherwise(given_: dict[str, Any], failures: str) -> None:
    """With expectations a failed trial is only recorded, unless `failures` says otherwise."""
    assert define("e", **given_).failures == failures


@pytest.mark.parametrize(
    ("given_", "problem"),
    [
        ({"hypothesis": ""}, "hypothesis must be a non-empty string, not ''"),
        ({"hypothesis": 5}, "hypothesis must be a non-empty string, not 5"),
        ({"condition": " "}, "condition must be a non-empty string, not ' '"),
        ({"conditions": {}}, "conditions={} names no arm"),
        ({"conditions": 5}, "conditions must be a list of strings, not 5"),
        ({"conditions": {"a", "b"}}, "conditions must be a list"),
        ({"conditions": ["a", 5]}, "conditions must hold non-empty, printable strings, not 5"),
        ({"conditions": ["a", "b", "a"]}, "conditions names 'a' twice"),
        ({"condition": "SETUP"}, "condition names 'SETUP', which is reserved"),
        ({"conditions": ["a", "SETUP"]}, "conditions names 'SETUP', which is reserved"),
        ({"conditions": {"SETUP": 1}}, "conditions names 'SETUP', which is reserved"),
        ({"conditions": ["a"], "condition": "b"}, "exclude each other"),
        ({"metrics": "score"}, 'metrics must be a mapping such as {"words": "lower", "score": '),
        ({"metrics": [Metric("score")]}, "metrics must be a mapping such as "),
        ({"metrics": {"a": "up"}}, "metrics: a: better='up' is not lower or higher"),
        (
            {"metrics": {"a": Metric(values=lambda _: [])}},
            "a: values= is for metrics of plugins",
        ),
        ({"tags": [""]}, "tags must hold non-empty, printable strings, not ''"),
        ({"expect": "a > 1"}, "['a > 1']?"),
        ({"scope": "function"}, "scope='function' is not one of test, class, module, session"),
        ({"trials": 0}, "trials must be a whole number of at least 1, not 0"),
        ({"trials": True}, "trials must be a whole number of at least 1, not True"),
        ({"trials": 2.0}, "trials must be a whole number of at least 1, not 2.0"),
        ({"sample_size": -1}, "sample_size must be a whole number of at least 1, not -1"),
        ({"metadata": ["a"]}, "metadata must be a mapping, not ['a']"),
        ({"pass_if": 8}, "pass_if must be a non-empty string, not 8"),
        ({"inconclusive": "ignore"}, "inconclusive='ignore' is not one of fail, pass, warn"),
        ({"failures": "ignore"}, "failures='ignore' is not one of fail, record"),
        (
            {"max_errors": 5},
            "max_errors must be a share between 0 and 1, such as 0.05 or '5%', not 5",
        ),
        ({"max_errors": 5}, "not 5; 5 percent are '5%'"),
        ({"max_errors": "5"}, "not '5'; 5 percent are '5%'"),
        ({"max_errors": True}, "max_errors must be a share between 0 and 1"),
        ({"max_errors": -0.1}, "not -0.1"),
        ({"max_errors": float("nan")}, "not nan"),
        ({"max_errors": "some"}, "not 'some'"),
        ({"max_errors": [0.1]}, "not [0.1]"),
        ({"margin": 0}, "margin must be a number between 0 and 10"),
        ({"margin": {"latency.p95": "5 %"}}, "not '5 %'"),
        ({"sampling": 0.5}, "sampling=0.5 is not one of adaptive:SHARE"),
        ({"trails": 5}, "unknown keyword 'trails'; did you mean 'trials'? valid: hypothesis, "),
        ({"zzz": 5}, "unknown keyword 'zzz'; valid: hypothesis, "),
    ],
)
def test_wrong_arguments_are_named(given_: dict[str, Any], problem: str) -> None:
    """A wrong argument is refused in one line that names it and what would be valid."""
    with pytest.raises(DefinitionError) as caught:
        define("e", **given_)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [None, "", " \t", 5, ["e"]])
def test_an_experiment_needs_a_name(name: object) -> None:
    """A name is a text that is not blank."""
    with pytest.raises(DefinitionError, match="name must be a non-empty string"):
        define(name)


PRINTABLE = st.characters(codec="utf-8", exclude_categories=["C", "Z"]) | st.just(" ")
NAMES = st.text(PRINTABLE, min_size=1).filter(str.strip)


@given(
    name=NAMES,
    given_=st.fixed_dictionaries(
        {},
        optional={
            "hypothesis": NAMES,
            "conditions": st.lists(NAMES, unique=True, max_size=3),
            "tags": st.lists(NAMES, max_size=3),
            "metadata": st.dictionaries(NAMES, st.none() | st.booleans() | st.integers(0, 9)),
            "sample_size": st.integers(1, 1000),
            "scope": st.sampled_from(SCOPES),
            "trials": st.integers(1, 100),
            "expect": st.lists(NAMES, max_size=2),
            "pass_if": st.just("8/10"),
            "inconclusive": st.sampled_from(INCONCLUSIVE),
            "margin": st.just(0.05) | st.just({"latency.p95": 0.1}),
            "failures": st.sampled_from(FAILURES),
            "max_errors": st.floats(0, 1) | st.sampled_from(["5%", " 5 % ", "0.5", "100%", "0"]),
        },
    ),
)
def test_definitions_survive_the_record(name: str, given_: dict[str, Any]) -> None:
    """A definition that is written to a record, as msgpack or JSON, comes back the same."""
    found = define(name, **given_)
    assert Definition.from_dict(found.to_dict()) == found
    for form in (msgspec.msgpack, msgspec.json):
        assert Definition.from_dict(form.decode(form.encode(found.to_dict()))) == found


def test_a_record_of_a_later_version_can_be_read() -> None:
    """Keywords that this version does not know are left out when a record is read."""
    data = {**define("e", trials=3).to_dict(), "from_the_future": 1}
    assert Definition.from_dict(data) == define("e", trials=3)


@pytest.mark.parametrize(
    ("given_", "expected"),
    [(0, 0.0), (1, 1.0), (0.05, 0.05), ("5%", 0.05), (" 5 % ", 0.05), ("0.05", 0.05), ("100%", 1)],
)
def test_shares_may_be_percentages(given_: float | str, expected: float) -> None:
    """As in expectations."""
    assert define("e", max_errors=given_).max_errors == expected


def test_every_keyword_is_written() -> None:
    """The record has every field of the definition."""
    assert set(define("e").to_dict()) == {"name", *KEYWORDS}


def test_the_table_of_keywords_has_all_of_them() -> None:
    """Dataclass, table and types name the same keywords, and the types the same choices."""
    assert tuple(OBEYED_BY) == KEYWORDS == obeyed(MARKER)
    assert set(Keywords.__annotations__) == set(KEYWORDS)
    assert set(LibraryKeywords.__annotations__) == set(obeyed(LIBRARY))
    choices = {"scope": SCOPES, "inconclusive": INCONCLUSIVE, "failures": FAILURES}
    types = get_type_hints(Keywords)
    for keyword, valid in {**choices, "validate": VALIDATE}.items():
        told = get_args(types[keyword])
        assert get_args(told[0]) == valid or told == valid


@pytest.mark.parametrize("metadata", [{"lock": threading.Lock()}, MappingProxyType({"a": 1})])
def test_metadata_need_not_be_copyable(metadata: Any) -> None:
    """Metadata may hold what cannot be copied, such as a client, in any kind of mapping."""
    assert define("e", metadata=metadata).to_dict()["metadata"] == dict(metadata)


@pytest.mark.parametrize("name", ["a\nb", "\ud800", "bell\x07"])
def test_names_that_would_wreck_a_terminal_are_refused(name: str) -> None:
    """Control characters and lone surrogates are no names."""
    with pytest.raises(DefinitionError, match="printable"):
        define(name)


def test_a_wrapped_hypothesis_is_one_line() -> None:
    """Prose may be a triple-quoted string."""
    assert define("e", hypothesis="a\n   b").hypothesis == "a b"
