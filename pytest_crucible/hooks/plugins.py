"""Call the hooks of plugins. A hook that fails is left out, and the user learns which it was."""

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
class _Hook:
    """A plugin's implementation of a hook; or, if one is a wrapper, those of several plugins."""

    hook: str
    plugin: str
    function: Callable[..., Any]
    arguments: tuple[str, ...] | None  # None: ``function`` is pluggy's, for several plugins

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
    """The implementations of our hooks in some plugin managers, without duplicates.

    Args:
        managers: managers that know the specifications of `specs`. The plugins of the first are
            called first.
        tell: called with one line for every hook that raises or returns something invalid.
    """

    def __init__(self, managers: Sequence[PluginManager], tell: Callable[[str], object]) -> None:
        self._managers = managers
        self._tell = tell
        self._reported: set[_Hook] = set()

    def formats(self) -> dict[str, Format]:
        """Return all formats of exports by name, including ours.

        A plugin's format with one of our names replaces how we write that format, but not how we
        read it.
        """
        formats = dict(FORMATS)
        for impl in self._impls(_EXPORTERS):
            for name, given in self._mapping(impl).items():
                try:
                    row = _format(name, given)
                    if name in FORMATS:
                        formats[name] = replace(FORMATS[name], write=row.write)
                    else:
                        _check_endings(row, formats.values())
                        formats[name] = row
                except DefinitionError as error:
                    self._complain(impl, str(error))
        return formats

    def enrichers(self) -> list[tuple[str, Enricher]]:
        """Return names and functions of the enrichers of plugins; the functions never raise.

        A name does not depend on the process or on how the plugin was registered, because the
        manifest of a run lists the enrichers by name.
        """
        return [(impl.name, self._enricher(impl)) for impl in self._impls(_ENRICH)]

    def _enricher(self, impl: _Hook) -> Enricher:
        def enricher(event: Event, enriched: Enriched) -> None:
            try:
                impl(event=event, enriched=enriched)
            except _RAISED as error:
                self._failed(impl, error)
            problem = _make_sound(enriched)
            if problem is not None:
                self._complain(impl, problem)

        return enricher

    def metrics(self, observations: Group, metrics: Metrics) -> dict[str, float]:
        """Return the numbers that plugins work out for one condition, by name."""
        numbers: dict[str, float] = {}
        for impl in self._impls(_METRICS):
            given = self._mapping(impl, observations=observations, metrics=metrics)
            for name, value in given.items():
                number = _number(value)
                if number is not None:
                    numbers[str(name)] = number
                elif value is not None:
                    self._complain(impl, f"{name!r}: {value!r:.80} is no number")
        return numbers

    def declared(self) -> list[Metric]:
        """Return the metrics that plugins declare."""
        found: list[Metric] = []
        for impl in self._impls(_DECLARE):
            for name, given in self._mapping(impl).items():
                try:
                    found += declared({name: given}, by=_DECLARE, code=True)
                except DefinitionError as error:
                    self._complain(impl, str(error))
        return found

    def summary(self, results: object) -> list[str]:
        """Return the lines that plugins add below the summary. ``results`` is a `Results`."""
        added: list[str] = []
        for impl in self._impls(_SUMMARY):
            try:
                for lines in impl(results=results):
                    added += [lines] if isinstance(lines, str) else map(str, lines or ())
            except _RAISED as error:
                self._failed(impl, error)
        return added

    def _mapping(self, impl: _Hook, **given: Any) -> Mapping[Any, Any]:
        try:
            merged: dict[Any, Any] = {}
            for mapping in impl(**given):
                if mapping is not None and not isinstance(mapping, Mapping):
                    raise DefinitionError(f"{mapping!r:.80} is no mapping")
                merged.update(mapping or {})
        except DefinitionError as error:
            self._complain(impl, str(error))
            return {}
        except _RAISED as error:
            self._failed(impl, error)
            return {}
        return merged

    def _impls(self, hook: str) -> Iterator[_Hook]:
        """Yield implementations as pluggy calls them: the last that was registered comes first."""
        seen: list[Callable[..., Any]] = []  # several managers may have the same plugin
        for manager in self._managers:
            every = getattr(manager.hook, hook).get_hookimpls()[::-1]
            new = [impl for impl in every if impl.function not in seen]
            seen += [impl.function for impl in new]
            if any(impl.wrapper or impl.hookwrapper for impl in new):
                # A wrapper runs around all others, so one that fails fails for all.
                names = ", ".join(impl.plugin_name for impl in new)
                repeated = [impl.plugin for impl in every if impl not in new]
                yield _Hook(hook, names, manager.subset_hook_caller(hook, repeated), None)
                continue
            for impl in new:
                yield _Hook(hook, impl.plugin_name, impl.function, impl.argnames)

    def _failed(self, impl: _Hook, error: BaseException) -> None:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        message = " ".join(str(error).split())
        self._complain(impl, f"{type(error).__name__}: {message} ({frame.filename}:{frame.lineno})")

    def _complain(self, impl: _Hook, problem: str) -> None:
        if impl not in self._reported:  # once: it may fail for every event
            self._reported.add(impl)
            self._tell(f"{problem}: left out {impl.hook} of plugin {impl.plugin!r}")


NO_PLUGINS = Plugins((), lambda problem: None)
"""No plugins at all."""


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
    """Remove values that would break a column later; return the first problem, or None.

    Done right after an enricher has run, when it is clear who set the value.
    """
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
        # Numbers of NumPy count; texts do not, though `float` would read them.
        number = None if isinstance(value, str | bytes) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return value if type(value) is int and number is not None else number
