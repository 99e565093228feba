"""What plugins add to the reading of a run. One that raises loses its own part, and is named."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pluggy import PluginManager

from pytest_crucible._errors import DefinitionError
from pytest_crucible.events.schema import NUMBERS
from pytest_crucible.exports.formats import FORMATS, Format
from pytest_crucible.metrics.catalog import Metric
from pytest_crucible.metrics.declared import declared

if TYPE_CHECKING:
    from pytest_crucible.events.enrichment import Enriched
    from pytest_crucible.events.event import Event
    from pytest_crucible.metrics.observations import Enricher, Group
    from pytest_crucible.metrics.values import Metrics

_ENRICH = "pytest_crucible_enrich"
_METRICS = "pytest_crucible_metrics"
_DECLARE = "pytest_crucible_declare"
_EXPORTERS = "pytest_crucible_exporters"
_SUMMARY = "pytest_crucible_summary"
_RAISED = (Exception, SystemExit)  # a plugin that exits must not end the command without a word


@dataclass(frozen=True, slots=True)
class _Part:
    """One plugin's implementation of one hook; or of several, where one wraps the others."""

    hook: str
    plugin: str
    function: Callable[..., Any]
    arguments: tuple[str, ...] | None  # None: pluggy calls several

    def __call__(self, **given: Any) -> list[Any]:
        if self.arguments is None:
            several: list[Any] = self.function(**given)
            return several
        return [self.function(*[given[name] for name in self.arguments])]

    @property
    def name(self) -> str:
        module = getattr(self.function, "__module__", "")
        return f"{module}.{getattr(self.function, '__qualname__', self.hook)}"


class Plugins:
    """The implementations of our hooks that some plugin managers know, each once.

    Args:
        managers: with the specifications of `specs`. The parts of the first are called first.
        tell: gets a line for each part that raises, or gives what nobody can use.
    """

    def __init__(self, managers: Sequence[PluginManager], tell: Callable[[str], object]) -> None:
        self._managers = managers
        self._tell = tell
        self._told: set[_Part] = set()

    def formats(self) -> dict[str, Format]:
        """All formats of exports by name, ours among them.

        A plugin that gives one of our names replaces how that format is written; what was written
        before can still be read.
        """
        found = dict(FORMATS)
        for part in self._parts(_EXPORTERS):
            for name, given in self._mapping(part).items():
                try:
                    row = _format(name, given)
                    if name in FORMATS:
                        found[name] = replace(FORMATS[name], write=row.write)
                    else:
                        _check_endings(row, found.values())
                        found[name] = row
                except DefinitionError as error:
                    self._complain(part, str(error))
        return found

    def enrichers(self) -> list[tuple[str, Enricher]]:
        """What plugins say about events: functions that never raise, and their names.

        A name is the same in each process, under whatever name the plugin was registered: by it a
        manifest tells who was asked when the run was made.
        """
        return [(part.name, self._enricher(part)) for part in self._parts(_ENRICH)]

    def _enricher(self, part: _Part) -> Enricher:
        def enricher(event: Event, enriched: Enriched) -> None:
            try:
                part(event=event, enriched=enriched)
            except _RAISED as error:
                self._failed(part, error)
            problem = _make_sound(enriched)
            if problem is not None:
                self._complain(part, problem)

        return enricher

    def metrics(self, observations: Group, metrics: Metrics) -> dict[str, float]:
        """More numbers of one condition, by name."""
        found: dict[str, float] = {}
        for part in self._parts(_METRICS):
            given = self._mapping(part, observations=observations, metrics=metrics)
            for name, value in given.items():
                number = _number(value)
                if number is not None:
                    found[str(name)] = number
                elif value is not None:
                    self._complain(part, f"{name!r}: {value!r:.80} is no number")
        return found

    def declared(self) -> list[Metric]:
        """What plugins know of metrics: their unit, direction, range and margin."""
        found: list[Metric] = []
        for part in self._parts(_DECLARE):
            try:
                given = [metric for metrics in part() for metric in metrics or ()]
            except _RAISED as error:
                self._failed(part, error)
                continue
            for metric in given:
                try:
                    found.append(declared(metric, by=_DECLARE))
                except DefinitionError as error:
                    self._complain(part, str(error))
        return found

    def summary(self, results: object) -> list[str]:
        """Lines below the summary. ``results`` is a `Results`."""
        found: list[str] = []
        for part in self._parts(_SUMMARY):
            try:
                for lines in part(results=results):
                    found += [lines] if isinstance(lines, str) else map(str, lines or ())
            except _RAISED as error:
                self._failed(part, error)
        return found

    def _mapping(self, part: _Part, **given: Any) -> Mapping[Any, Any]:
        try:
            found: dict[Any, Any] = {}
            for each in part(**given):
                found.update(each or {})
        except _RAISED as error:
            self._failed(part, error)
            return {}
        return found

    def _parts(self, hook: str) -> Iterator[_Part]:
        """In the order in which pluggy calls them: the last that was registered comes first."""
        seen: list[Callable[..., Any]] = []
        for manager in self._managers:
            every = getattr(manager.hook, hook).get_hookimpls()[::-1]
            new = [each for each in every if each.function not in seen]  # known to several managers
            seen += [each.function for each in new]
            if any(each.wrapper or each.hookwrapper for each in new):
                # A wrapper has to do with all others: they stand or fall together.
                names = ", ".join(each.plugin_name for each in new)
                known = [each.plugin for each in every if each not in new]
                yield _Part(hook, names, manager.subset_hook_caller(hook, known), None)
                continue
            for each in new:
                yield _Part(hook, each.plugin_name, each.function, each.argnames)

    def _failed(self, part: _Part, error: BaseException) -> None:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        said = " ".join(str(error).split())
        self._complain(part, f"{type(error).__name__}: {said} ({frame.filename}:{frame.lineno})")

    def _complain(self, part: _Part, problem: str) -> None:
        if part not in self._told:  # once is enough: it may go wrong for every event
            self._told.add(part)
            self._tell(f"{problem}: left out {part.hook} of plugin {part.plugin!r}")


NO_PLUGINS = Plugins((), lambda problem: None)
"""For who asks them in another way."""


def _format(name: object, given: object) -> Format:
    if isinstance(given, Format):
        if given.name != name:
            raise DefinitionError(f"format {given.name!r} was given under the name {name!r}")
        return given
    if not callable(given) or not isinstance(name, str):
        raise DefinitionError(f"{name!r}: {given!r:.80} is no exporter")
    return Format(name=name, write=given)


def _check_endings(row: Format, others: Iterable[Format]) -> None:
    for other in others:
        for ending in row.endings if other.name != row.name else ():
            if ending.endswith(other.endings) or any(e.endswith(ending) for e in other.endings):
                raise DefinitionError(
                    f"format {row.name!r}: the ending {ending} is taken by format {other.name!r}"
                )


def _make_sound(enriched: Enriched) -> str | None:
    """Take out what would break a column later, while it is known who set it; tell the first."""
    problem = None
    for field in NUMBERS:
        value = getattr(enriched, field)
        if value is None or type(value) is float:
            continue
        number = _number(value)
        if number is not value:
            setattr(enriched, field, number)
        if number is None:
            problem = problem or f"{field}={value!r:.80} is no number"
    if enriched.success not in (None, True, False):
        problem = problem or f"success={enriched.success!r:.80} is neither true nor false"
        enriched.success = None
    if not isinstance(enriched.extra, dict):
        problem = problem or f"extra={enriched.extra!r:.80} is no dict"
        enriched.extra = {}
    return problem


def _number(value: object) -> float | None:
    if type(value) is float:
        return value
    try:
        # Of NumPy, too; not a text, which `float` would read.
        number = None if isinstance(value, str | bytes) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return value if type(value) is int and number is not None else number
