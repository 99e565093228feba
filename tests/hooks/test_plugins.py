"""What plugins add, each its own part: which calls are made, and what is done with nonsense."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pluggy
import pytest

from pytest_crucible.events.enrichment import Enriched, enrich
from pytest_crucible.events.event import Event
from pytest_crucible.exports.formats import FORMATS, Format
from pytest_crucible.hooks import specs
from pytest_crucible.hooks.installed import _Manager
from pytest_crucible.hooks.plugins import NO_PLUGINS, Plugins
from pytest_crucible.metrics.observations import observe
from pytest_crucible.metrics.summary import summarise
from tests.made_events import event


def manager(*plugins: object) -> pluggy.PluginManager:
    found = _Manager("pytest_crucible")
    found.add_hookspecs(specs)
    for plugin in plugins:
        found.register(plugin, f"{type(plugin).__name__.lower()}-{len(found.get_plugins())}")
    return found


class Told:
    """Plugins, and what is told of them."""

    def __init__(self, *managers: pluggy.PluginManager) -> None:
        self.problems: list[str] = []
        self.plugins = Plugins(managers, self.problems.append)

    def metrics(self) -> dict[str, float]:
        group = observe([event()]).groups["exp", "default"]
        return self.plugins.metrics(group, summarise(group))

    def enriched(self) -> Enriched:
        found = enrich(event())
        for _, enricher in self.plugins.enrichers():
            enricher(event(), found)
        return found


def write(rows: Any, path: Path) -> None:
    """An exporter."""


class Metric:
    def __init__(self, **numbers: Any) -> None:
        self.numbers = numbers

    def pytest_crucible_metrics(self) -> Mapping[str, Any]:
        return self.numbers


class Formats:
    def __init__(self, **formats: Any) -> None:
        self.formats = formats

    def pytest_crucible_exporters(self) -> Mapping[str, Any]:
        return self.formats


class Sets:
    def __init__(self, **fields: Any) -> None:
        self.fields = fields

    def pytest_crucible_enrich(self, enriched: Enriched) -> None:
        for name, value in self.fields.items():
            setattr(enriched, name, value)


# --- who is called -----------------------------------------------------------------------------


def test_nobody_adds_nothing() -> None:
    """Without plugins there are our own formats, and no calls."""
    assert NO_PLUGINS.formats() == FORMATS
    assert (NO_PLUGINS.enrichers(), NO_PLUGINS.summary(None)) == ([], [])


def test_one_that_several_managers_know_is_called_once() -> None:
    """Also where it came into one of them under another name."""
    calls = []

    class Counts:
        def pytest_crucible_summary(self) -> list[str]:
            calls.append(1)
            return ["x"]

    plugin = Counts()
    first, second = manager(plugin), manager(Metric(), plugin)
    assert Told(first, second).plugins.summary(None) == ["x"]
    assert calls == [1]


def test_two_of_one_class_are_two() -> None:
    """What tells plugins apart is not their names."""
    assert Told(manager(Metric(a=1), Metric(b=2))).metrics() == {"a": 1, "b": 2}


def test_the_last_that_was_registered_is_called_first() -> None:
    """As pluggy does it; what is said later stands."""
    assert Told(manager(Metric(a=1), Metric(a=2))).metrics() == {"a": 1}
    assert Told(manager(Metric(a=2)), manager(Metric(a=3))).metrics() == {"a": 3}


def test_markers_give_options() -> None:
    """Of pluggy's own marker and of pytest's: a plugin may have either."""
    order = []

    class First:
        @pytest.hookimpl(tryfirst=True)
        def pytest_crucible_summary(self) -> None:
            order.append("first")

    class Last:
        @pluggy.HookimplMarker("pytest_crucible")(trylast=True)
        def pytest_crucible_summary(self) -> None:
            order.append("last")

    class Usual:
        def pytest_crucible_summary(self) -> None:
            order.append("usual")

    Told(manager(First(), Usual(), Last())).plugins.summary(None)
    assert order == ["first", "usual", "last"]


def test_a_wrapper_has_the_others_within() -> None:
    """Then pluggy calls them; what one manager has called, another does not call again."""

    class Wrapper:
        @pytest.hookimpl(wrapper=True)
        def pytest_crucible_metrics(self) -> Iterator[None]:
            inner: Any = yield
            return [*inner, {"wrapped": len(inner)}]  # type: ignore[return-value]

    plugin = Metric(a=1)
    told = Told(manager(plugin), manager(Wrapper(), plugin, Metric(b=2)))
    assert told.metrics() == {"a": 1, "b": 2, "wrapped": 1}
    assert told.problems == []


def test_attributes_of_others_are_not_read() -> None:
    """Only what is named like a hook: the rest of an object may be dear, or raise."""

    class Odd:
        @property
        def client(self) -> None:
            raise AssertionError

        pytest_crucible_level = 3

    manager(Odd())


# --- formats -----------------------------------------------------------------------------------


def test_a_function_or_a_row_is_a_format() -> None:
    """A function writes; a row may also say how to read."""
    row = Format(name="b", endings=(".bb",), write=write, read=lambda path: iter(()))
    found = Told(manager(Formats(a=write, b=row))).plugins.formats()
    assert (found["a"].endings, found["a"].read, found["b"]) == ((".a",), None, row)
    assert list(found)[: len(FORMATS)] == list(FORMATS)


def test_one_of_our_names_is_written_by_the_plugin_and_read_by_us() -> None:
    """What was written before stays a record."""
    for given in (write, Format(name="csv", write=write, endings=(".x",))):
        found = Told(manager(Formats(csv=given))).plugins.formats()["csv"]
        assert (found.writer(), found.read) == (write, FORMATS["csv"].read)
        assert found.endings == (".csv",)


@pytest.mark.parametrize(("given", "said"), [
    ({"a": 3}, "'a': 3 is no exporter"),
    ({"a": Format(name="b", write=write)}, "format 'b' was given under the name 'a'"),
    ({"a": Format(name="a", write=write, endings=(".x.csv",))},
     "format 'a': the ending .x.csv is taken by format 'csv'"),
    ({"a/b": write}, "a format cannot be named 'a/b'"),
    ({"zip": write}, "format 'zip': '.zip' cannot be its ending"),
    ([1], "[1] is no mapping"),
])  # fmt: skip
def test_what_is_no_format_is_left_out(given: Any, said: str) -> None:
    """In one line that names the plugin; formats that are some stay."""

    class Odd:
        def pytest_crucible_exporters(self) -> Any:
            return given

    told = Told(manager(Formats(good=write), Odd()))
    assert list(told.plugins.formats()) == [*FORMATS, "good"]
    (problem,) = told.problems
    assert problem.startswith(said)
    assert problem.endswith(": left out pytest_crucible_exporters of plugin 'odd-1'")


# --- numbers -----------------------------------------------------------------------------------


def test_numbers_of_any_kind_are_numbers() -> None:
    """NumPy's, decimals, truth values; None is no number of that condition."""
    given = {"a": np.float32(0.5), "b": np.int64(2), "c": Decimal("1.5"), "d": True, "e": 7}
    told = Told(manager(Metric(**given, none=None)))
    assert told.metrics() == {"a": 0.5, "b": 2, "c": 1.5, "d": 1, "e": 7}
    assert type(told.metrics()["e"]) is int
    assert told.problems == []


@pytest.mark.parametrize("wrong", ["3", [1], 10**400, b"3"])
def test_what_is_no_number_is_left_out(wrong: object) -> None:
    """It would break the table; the others stay."""
    told = Told(manager(Metric(good=1, wrong=wrong)))
    assert told.metrics() == {"good": 1}
    assert told.problems[0].startswith(f"'wrong': {wrong!r:.80} is no number: left out ")


@pytest.mark.parametrize(("field", "wrong"), [
    ("cost_usd", "free"), ("latency_ms", [1]), ("total_tokens", 10**400), ("success", "yes"),
    ("extra", None),
])  # fmt: skip
def test_a_column_takes_only_what_fits(field: str, wrong: object) -> None:
    """What an enricher sets goes into columns of numbers: what is none is taken out, and told."""
    told = Told(manager(Sets(cost_usd=np.float32(0.5)), Sets(**{field: wrong})))
    found = told.enriched()
    assert getattr(found, field) in (None, {}, 0.5)
    assert type(found.cost_usd) is float
    (problem,) = told.problems
    assert problem.startswith(f"{field}={wrong!r:.80} is ")
    observe([event()], enrichers=[each for _, each in told.plugins.enrichers()])


def test_an_enricher_that_raises_is_asked_of_the_next_event(tmp_path: Path) -> None:
    """What it says depends on no other event; it is told once, however often it raises."""

    class Some:
        def pytest_crucible_enrich(self, event: Event, enriched: Enriched) -> None:
            enriched.cost_usd = event.measurements["cost"]

    told = Told(manager(Some()))
    ((name, enricher),) = told.plugins.enrichers()
    assert name.endswith("Some.pytest_crucible_enrich")
    events = [event(measurements={"cost": 1} if n % 2 else {}) for n in range(6)]
    group = observe(events, enrichers=[enricher]).groups["exp", "default"]
    assert summarise(group).cost.total == 3
    assert len(told.problems) == 1


def test_a_text_is_one_line() -> None:
    """Not one per character."""

    class Text:
        def pytest_crucible_summary(self) -> str:
            return "one line"

    assert Told(manager(Text())).plugins.summary(None) == ["one line"]


class Exits:
    def pytest_crucible_enrich(self) -> None:
        raise SystemExit(3)

    def pytest_crucible_metrics(self) -> None:
        raise SystemExit(3)

    def pytest_crucible_declare(self) -> None:
        raise SystemExit(3)

    def pytest_crucible_exporters(self) -> None:
        raise SystemExit(3)

    def pytest_crucible_summary(self) -> None:
        raise SystemExit(3)


def test_a_plugin_that_exits_ends_nothing_else() -> None:
    """Else ``crucible show`` would end without a word, with the exit code of the plugin."""
    told = Told(manager(Exits()))
    assert told.metrics() == {}
    assert told.enriched() == enrich(event())
    assert told.plugins.declared() == []
    assert told.plugins.formats() == FORMATS
    assert told.plugins.summary(None) == []
    assert [each.partition(":")[0] for each in told.problems] == ["SystemExit"] * 5
