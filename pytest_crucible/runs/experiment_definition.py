"""Experiment definitions: the arguments of a marker or of ``experiment()``, checked once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any, Literal, TypedDict, Unpack

from pytest_crucible._errors import DefinitionError
from pytest_crucible.capture.strategies import parse_sampling
from pytest_crucible.events.scope import SETUP
from pytest_crucible.metrics.catalog import LOWER, Metric
from pytest_crucible.metrics.declared import declared, plain

SCOPES = ("test", "class", "module", "session")
MAX_TRIALS = 100_000  # every trial is a test item; more would only exhaust memory at collection
RESOURCES = (
    Metric("cpu_ms", "ms", LOWER, (0.0, None)),
    Metric("peak_memory_mb", "MB", LOWER, (0.0, None)),
    Metric("gpu_peak_memory_mb", "MB", LOWER, (0.0, None)),
)
"""The numbers that ``resources=True`` records."""
FAILURES = ("fail", "record")
INCONCLUSIVE = ("fail", "pass", "warn")
DECIDED = "decided"
ERROR = "error"
VALIDATE = ("warn", ERROR)
MAX_ERRORS = 0.05
"""The share of trials that may break, unless the author or the session says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One experiment as its author described it.

    Attributes:
        name: name of the experiment; tests with the same name belong to the same experiment.
        hypothesis: the claim, in prose.
        condition: the arm that this test belongs to. Without it, the arm is ``default``.
        conditions: names of the arms; each case runs once per arm. The first is the baseline. On
            the marker also a mapping from names to values, or the name of a parametrized argument
            whose values are the arms, or several of them.
        tags, metadata: stored with the record.
        sample_size: number of cases that the author meant to measure.
        case: where a test's parameters have the id of the case: ``"row.id"`` (a parameter, then
            attributes, keys or indices), or a function of parameters. Default: pytest's id.
        cluster: the same for the group that the case belongs to (questions on one passage).
            Cases of one cluster are not independent. Default: each case is on its own.
        slices: parts of the cases to look at alone: names of parameters (``"row.lang"``), of keys
            of the metadata of the test or of an `Experiment.case`, or ``tags``.
        scope: how long events are captured: for one test, class, module or session.
        trials: repetitions of each case.
        warmup: number of trials per test and arm that run first and do not count.
        resources: record CPU time, peak memory and a GPU's peak memory of every trial.
        expect: expectations over metrics, e.g. ``success_rate > 0.9``.
        pass_if: ``"8/10"``: a case passes if at least 8 of its 10 trials do.
        sequential: judge rates, bounded scores and percentiles so that the verdict holds however
            often somebody looks and adds cases. Default: the value of ``--crucible-sequential``.
        stop: ``"decided"``: run the cases in random order, and skip the rest once the claims of
            ``expect`` are decided (those on ``primary``, if given); implies ``sequential``.
        inconclusive: what an inconclusive expectation does to the session: fail, pass, or warn.
            Default: the value of ``--crucible-inconclusive``.
        margin: largest change between conditions that does not matter: one number (relative; for
            rates absolute), or one per metric.
        primary: the metric that decides comparisons, or several of them, beside the success rate;
            the others are shown. Default: those of ``expect``; without one, success rate, latency
            and cost.
        metrics: declares numbers that the experiment records, and formulas over them: by name,
            ``lower``, ``higher``, or a `Metric` with unit, direction, range, margin, formula.
        failures: with ``fail``, a failed trial fails the session; with ``record``, the failure only
            counts, and the expectations decide. Default: ``record`` with ``expect`` or ``pass_if``,
            else ``fail``.
        max_errors: the share of the trials that ran that may error or crash, ``0.05`` or ``"5%"``;
            with more, the experiment is ERRORED and fails the session, whatever its expectations
            say. Default: the value of ``--crucible-max-errors``, else 5 %.
        budget_usd: how much the experiment may spend, in USD; then further trials are skipped.
        validate: check measurements against the catalog of events when a trial ends: ``warn`` shows
            problems in the summary; with ``error`` the trial fails, too. Default: no check.
        sampling: which operations are recorded: ``uniform:SHARE``, ``reservoir:SIZE``,
            ``stratified:SHARE``, ``adaptive:SHARE`` or ``importance:SHARE``. Without it, all.
        axes: the parametrized argument that ``conditions="model"`` names. No keyword; not recorded.
        arms: values of the arms by name, from ``conditions={…}``. No keyword; not recorded, because
            they may be prompts or clients.
    """

    name: str
    hypothesis: str | None = None
    condition: str | None = None
    conditions: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    sample_size: int | None = None
    case: str | Callable[..., object] | None = None
    cluster: str | Callable[..., object] | None = None
    slices: tuple[str, ...] = ()
    scope: str = "test"
    trials: int = 1
    warmup: int = 0
    resources: bool = False
    expect: tuple[str, ...] = ()
    pass_if: str | None = None
    sequential: bool = False
    stop: str | None = None
    inconclusive: str | None = None
    margin: float | Mapping[str, float] | None = None
    primary: tuple[str, ...] = ()
    metrics: tuple[Metric, ...] = ()
    failures: str = "fail"
    max_errors: float | None = None
    budget_usd: float | None = None
    validate: str | None = None
    sampling: str | None = None
    axes: tuple[str, ...] = ()
    arms: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def described(self) -> tuple[str, tuple[str, ...], Mapping[str, Any]]:
        """Name, tags and metadata."""
        return self.name, self.tags, self.metadata

    def to_dict(self) -> dict[str, Any]:
        """Return the definition as a dictionary, for records and manifests."""
        # Not `asdict`: it copies deeply, and metadata may hold objects that cannot be copied.
        values = {key: getattr(self, key) for key in ("name", *KEYWORDS)}
        for key in ("case", "cluster"):
            if callable(values[key]):
                values[key] = getattr(values[key], "__qualname__", type(values[key]).__qualname__)
        return {**values, "metadata": dict(self.metadata), "metrics": plain(self.metrics)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Definition:
        """Read a definition from the dictionary that `to_dict` made; ignores unknown keys.

        Raises:
            DefinitionError: a value is invalid.
        """
        return define(data.get("name"), **{k: v for k, v in data.items() if k in KEYWORDS})


KEYWORDS = tuple(f.name for f in fields(Definition) if f.name not in ("name", "axes", "arms"))

MARKER, LIBRARY, JOIN = "marker", "library", "join"
OBEYED_BY: Mapping[str, tuple[str, ...]] = {
    "hypothesis": (MARKER, LIBRARY, JOIN),
    "condition": (MARKER, LIBRARY),
    "conditions": (MARKER,),
    "tags": (MARKER, LIBRARY),
    "metadata": (MARKER, LIBRARY),
    "sample_size": (MARKER, LIBRARY),
    "case": (MARKER,),
    "cluster": (MARKER,),
    "slices": (MARKER, LIBRARY, JOIN),
    "scope": (MARKER,),
    "trials": (MARKER,),
    "warmup": (MARKER,),
    "resources": (MARKER,),
    "expect": (MARKER,),
    "pass_if": (MARKER,),
    "sequential": (MARKER,),
    "stop": (MARKER,),
    "inconclusive": (MARKER,),
    "margin": (MARKER,),
    "primary": (MARKER,),
    "metrics": (MARKER, LIBRARY),
    "failures": (MARKER,),
    "max_errors": (MARKER,),
    "budget_usd": (MARKER,),
    "validate": (MARKER, LIBRARY, JOIN),
    "sampling": (MARKER, LIBRARY, JOIN),
}
"""Where each keyword is valid: in the marker; in `experiment` and `start`, outside pytest; in the
ticket of a process that calls `join`. Elsewhere a keyword is an error, never ignored."""

Texts = list[str] | tuple[str, ...] | AbstractSet[str] | Iterator[str]
"""Any iterable of strings except a string, whose items would be its letters."""
OrderedTexts = list[str] | tuple[str, ...] | Iterator[str]


class LibraryKeywords(TypedDict, total=False):
    """Keywords of ``experiment()`` and ``start()``; `Definition` describes them."""

    hypothesis: str | None
    condition: str | None
    tags: Texts
    metadata: Mapping[str, Any]
    sample_size: int | None
    slices: Texts
    metrics: Mapping[str, Literal["lower", "higher"] | Metric]
    validate: Literal["warn", "error"] | None
    sampling: str | None


class Keywords(LibraryKeywords, total=False):
    """Keywords of the marker; `Definition` describes them."""

    case: str | Callable[..., object] | None
    cluster: str | Callable[..., object] | None
    conditions: OrderedTexts | Mapping[str, Any] | str
    scope: Literal["test", "class", "module", "session"]
    trials: int
    warmup: int
    resources: bool
    expect: Texts
    pass_if: str | None
    sequential: bool
    stop: Literal["decided"] | None
    inconclusive: Literal["fail", "pass", "warn"] | None
    margin: float | Mapping[str, float] | None
    primary: str | Texts
    failures: Literal["fail", "record"] | None
    max_errors: float | str | None
    budget_usd: float | None


def obeyed(who: str) -> tuple[str, ...]:
    """Return the keywords that are valid for `MARKER`, `LIBRARY` or `JOIN`, in order."""
    return tuple(key for key in KEYWORDS if who in OBEYED_BY[key])


def check_keywords(given: Iterable[str], who: str) -> None:
    """Check that every keyword is valid.

    Args:
        given: names of keywords.
        who: `MARKER`, `LIBRARY` or `JOIN`.

    Raises:
        DefinitionError: one line that names the invalid keyword and the valid ones.
    """
    valid = obeyed(who)
    for key in given:
        if key in valid:
            continue
        problem = f"{key}= needs pytest, which runs the tests; "
        if key not in KEYWORDS:
            problem = f"unknown keyword {key!r}; "
            for close in get_close_matches(key, KEYWORDS, 1):
                needs = "" if close in valid else ", which needs pytest"
                problem += f"did you mean {close!r}{needs}? "
        raise DefinitionError(f"{problem}valid: {', '.join(valid)}")


def define(name: object = None, /, **keywords: Unpack[Keywords]) -> Definition:
    """Check the arguments of a marker or of ``experiment()``, and return a `Definition`.

    Raises:
        DefinitionError: one line that names the invalid value and the valid ones.
    """
    given: dict[str, Any] = {**keywords}
    if not isinstance(name, str) or not name.strip():
        raise DefinitionError(f"experiment name must be a non-empty string, not {name!r}")
    _check_text("name", name)
    check_keywords(given, MARKER)
    if isinstance(given.get("hypothesis"), str):
        given["hypothesis"] = " ".join(given["hypothesis"].split())  # prose may be wrapped
    _check_text("hypothesis", given.get("hypothesis"))
    _check_text("condition", given.get("condition"))
    _check_sources(given)
    axes, arms, given["conditions"] = _arms(given.get("conditions", ()))
    for key in ("conditions", "tags", "expect", "slices", "primary"):
        given[key] = _texts(key, given.get(key, ()))
    _check_conditions(given.get("condition"), axes or given["conditions"])
    _check_choice("scope", given.get("scope", "test"), SCOPES)
    _check_count("trials", given.get("trials", 1))
    _check_extras(given.get("warmup", 0), given.get("resources", False))
    if given.get("trials", 1) > MAX_TRIALS:
        raise DefinitionError(f"trials={given['trials']} is more than {MAX_TRIALS:,}")
    if given.get("sample_size") is not None:
        _check_count("sample_size", given["sample_size"])
    metadata = given.setdefault("metadata", {})
    if not isinstance(metadata, Mapping):
        raise DefinitionError(f"metadata must be a mapping, not {metadata!r}")
    _check_text("pass_if", given.get("pass_if"))
    if given.get("failures") is None:
        given["failures"] = "record" if given["expect"] or given.get("pass_if") else "fail"
    for key, valid in (("inconclusive", INCONCLUSIVE), ("validate", VALIDATE)):
        if given.get(key) is not None:
            _check_choice(key, given[key], valid)
    _check_sequential(given)
    check_margin(given.get("margin"))
    given["metrics"] = _metrics(given.get("metrics", {}), bool(given.get("resources")))
    _check_budget(given.get("budget_usd"))
    if given.get("max_errors") is not None:
        given["max_errors"] = share("max_errors", given["max_errors"])
    _check_choice("failures", given["failures"], FAILURES)
    if given.get("sampling") is not None:
        parse_sampling(given["sampling"])
    return Definition(name=name, axes=axes, arms=arms, **given)


def _check_text(key: str, value: object) -> None:
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise DefinitionError(f"{key} must be a non-empty string, not {value!r}")
    if isinstance(value, str) and not value.isprintable():
        # Control characters and lone surrogates would break terminals, files and XML.
        raise DefinitionError(f"{key} must be printable text, not {value!r}")


def _check_sources(given: Mapping[str, Any]) -> None:
    for key in ("case", "cluster"):
        value = given.get(key)
        if value is not None and not callable(value) and not isinstance(value, str):
            raise DefinitionError(
                f"{key} must be a path such as 'row.id', or a function of parameters, not {value!r}"
            )
        if not callable(value):
            _check_text(key, value)


def _texts(key: str, value: object) -> tuple[str, ...]:
    if key == "primary" and isinstance(value, str):
        value = (value,)  # most experiments have one
    if isinstance(value, str):
        raise DefinitionError(f"{key} must be a list of strings, not one string: [{value!r}]?")
    if not isinstance(value, Iterable):
        raise DefinitionError(f"{key} must be a list of strings, not {value!r}")
    if key == "conditions" and isinstance(value, (set, frozenset)):
        # The order of a set of strings differs from process to process.
        raise DefinitionError("conditions must be a list: a set has no first one, the baseline")
    texts = tuple(value)
    for text in texts:
        if not isinstance(text, str) or not text.strip() or not text.isprintable():
            raise DefinitionError(f"{key} must hold non-empty, printable strings, not {text!r}")
    return texts


def _arms(conditions: object) -> tuple[tuple[str, ...], dict[str, Any], object]:
    """Split ``conditions=`` into axes, values of arms by name, and names that are still raw."""
    if isinstance(conditions, str):
        _check_text("conditions", conditions)
        return (conditions,), {}, ()
    if isinstance(conditions, Mapping):
        if not conditions:
            raise DefinitionError("conditions={} names no arm")
        return (), dict(conditions), tuple(conditions)
    return (), {}, conditions


def check_arm(key: str, name: str) -> None:
    """Refuse the name of an arm that is reserved.

    Args:
        key: the keyword that gave it.
        name: the name.

    Raises:
        DefinitionError: it is reserved.
    """
    if name == SETUP:
        raise DefinitionError(
            f"{key} names {name!r}, which is reserved for what belongs to no arm, such as what a "
            "session's fixture spends; choose another name"
        )


def _check_conditions(condition: str | None, conditions: tuple[str, ...]) -> None:
    if condition is not None and conditions:
        raise DefinitionError(
            f"condition={condition!r} and conditions={conditions!r} exclude each other: "
            "one names this test's arm, the other runs each case once per arm"
        )
    if condition is not None:
        check_arm("condition", condition)
    for name in conditions:
        check_arm("conditions", name)
    for position, name in enumerate(conditions):
        if name in conditions[:position]:
            raise DefinitionError(f"conditions names {name!r} twice")


def _check_choice(key: str, value: object, valid: tuple[str, ...]) -> None:
    if value not in valid:
        raise DefinitionError(f"{key}={value!r} is not one of {', '.join(valid)}")


def _check_sequential(given: dict[str, Any]) -> None:
    sequential, stop = given.get("sequential", False), given.get("stop")
    if not isinstance(sequential, bool):
        raise DefinitionError(f"sequential must be True or False, not {sequential!r}")
    if stop is None:
        return
    _check_choice("stop", stop, (DECIDED,))
    if not given["expect"]:
        raise DefinitionError(
            f"stop={DECIDED!r} needs expect=[…]: without a claim nothing is ever decided"
        )
    given["sequential"] = True


def check_margin(margin: object) -> None:
    """Check the ``margin`` of a comparison; None is the default.

    Raises:
        DefinitionError: it is no share, or not one per metric.
    """
    if margin is None:
        return
    if isinstance(margin, (int, float)) and not isinstance(margin, bool) and 1 <= margin < 100:
        raise DefinitionError(
            f"margin={margin:g} is {margin:.0%}: {margin:g} % is margin={margin / 100:g}"
        )
    for share in margin.values() if isinstance(margin, Mapping) else [margin]:
        if not isinstance(share, (int, float)) or isinstance(share, bool) or not 0 < share < 10:
            raise DefinitionError(
                f"margin must be a number between 0 and 10 (0.05 is 5 %), or one per metric, "
                f"not {share!r}"
            )


def _metrics(value: object, resources: bool) -> tuple[Metric, ...]:
    metrics = declared(value)
    if not resources:
        return metrics
    named = {metric.path for metric in metrics}
    return (*metrics, *(metric for metric in RESOURCES if metric.path not in named))


def _check_budget(budget: object) -> None:
    if budget is None:
        return
    if not isinstance(budget, (int, float)) or isinstance(budget, bool) or not 0 < budget < 1e12:
        raise DefinitionError(f"budget_usd must be a number of US dollars above 0, not {budget!r}")


def share(name: str, value: object) -> float:
    """Read a share: a number between 0 and 1, or a text such as ``5%``.

    Raises:
        DefinitionError: it is no share; one line that begins with ``name``.
    """
    problem = f"{name} must be a share between 0 and 1, such as 0.05 or '5%', not {value!r}"
    number = value
    if isinstance(value, str):
        text = value.strip()
        try:
            number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            raise DefinitionError(problem) from None
    if not isinstance(number, (int, float)) or isinstance(number, bool) or not 0 <= number <= 1:
        hint = f"; {number:g} percent are '{number:g}%'" if _percent(number) else ""
        raise DefinitionError(problem + hint)
    return float(number)


def _percent(number: object) -> bool:
    return isinstance(number, (int, float)) and not isinstance(number, bool) and 1 < number <= 100


def _check_extras(warmup: object, resources: object) -> None:
    if type(warmup) is not int or not 0 <= warmup <= MAX_TRIALS:
        raise DefinitionError(f"warmup must be a whole number of trials, 0 or more, not {warmup!r}")
    if not isinstance(resources, bool):
        raise DefinitionError(f"resources must be True or False, not {resources!r}")


def _check_count(key: str, value: object) -> None:
    if type(value) is not int or value < 1:
        raise DefinitionError(f"{key} must be a whole number of at least 1, not {value!r}")
