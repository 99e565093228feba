"""The columns of an event, defined once.

Rows of exports, arrays of queries and the columns of a group get their names and types from here.
`enrichment` works out the values. docs/extending.md explains how to add a column.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Generic, TypeVar

EVENT, SCOPE, ROW, METADATA, ENRICHMENT = "event", "scope", "row", "metadata", "enrichment"
WHOLE_RUN, DEFINITION = "whole run", "definition"
"""Where the value of a column comes from: the recorded event; its scope; other columns of the row;
the metadata of the same name, unchanged; enrichment; the other events of the run; the definition of
the experiment."""

NAME, PLACE = "name", "place"
"""How an anonymised export treats a text: as a name (of an experiment, a run, …), or as the node id
of a test or case."""

NS_PER_MS = 1_000_000
WEIGHT = "sampling_weight"
"""How many events a row stands for."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Source:
    """The keys under which events report a number. The first that holds a finite number counts.

    Attributes:
        keys: in the order to try them.
        within: the mappings that may have these keys, in the order to try them.
        divisor: divides the number, so that it has the column's unit.
        in_tokens: more keys, which mean this number only inside ``tokens: {…}``.
    """

    keys: tuple[str, ...]
    within: tuple[str, ...] = ("measurements", "metadata")
    _: KW_ONLY
    divisor: float | None = None
    in_tokens: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Column:
    """A column of events.

    Attributes:
        name: its name in exports, and as an attribute.
        type: type of its values: str, int, float or bool. A value from the metadata may be of any
            type; str then means that formats with typed columns write it as text.
        computed_by: `EVENT`, `SCOPE`, `ROW`, `METADATA`, `ENRICHMENT`, `WHOLE_RUN` or
            `DEFINITION`.
        unit: empty if it has none.
        nullable: whether events may lack it.
        exported: whether exports have it.
        sparse: whether an export has it only if one of its events does.
        required: whether a file must have it to be read back.
        queried: whether queries over columns can ask for this text. They can ask for every number.
        source: the keys under which events report it, if enrichment only has to look there.
        metric: its name in the summary, if the summary looks for anomalies in it (on a log scale).
        shown: `NAME` or `PLACE`: how an anonymised export treats its text. Empty: its name decides.
    """

    name: str
    type: type
    computed_by: str
    _: KW_ONLY
    unit: str = ""
    nullable: bool = True
    exported: bool = True
    sparse: bool = False
    required: bool = False
    queried: bool = False
    source: Source | None = None
    metric: str = ""
    shown: str = ""


_LATENCY = Source(("duration", "duration_ns"), ("measurements",), divisor=NS_PER_MS)
_COST = Source(("cost_usd", "cost", "total_cost"), ("metadata", "measurements"))
_INPUT = Source(("input_tokens", "prompt_tokens"), in_tokens=("prompt", "input"))
_OUTPUT = Source(("output_tokens", "completion_tokens"), in_tokens=("completion", "output"))
_TOTAL = Source(("total_tokens",), in_tokens=("total",))

COLUMNS = (
    Column("run", str, EVENT, nullable=False, required=True, shown=NAME),
    Column("event_id", str, ROW, nullable=False),
    Column("experiment", str, SCOPE, required=True, shown=NAME),
    Column("condition", str, SCOPE, required=True, shown=NAME, queried=True),
    Column("test", str, SCOPE, shown=PLACE),
    Column("case", str, SCOPE, shown=PLACE, queried=True),
    Column("trial", int, SCOPE),
    Column("attempt", int, SCOPE),
    Column("node", str, EVENT, nullable=False, required=True, shown=NAME),
    Column("sequence", int, EVENT, nullable=False, required=True),
    Column("event", str, EVENT, nullable=False, required=True, shown=NAME),
    Column("time_us", int, EVENT, unit="µs", nullable=False, required=True),
    Column("datetime", str, ROW, nullable=False),
    Column("attribution", str, EVENT, nullable=False, shown=NAME),
    Column("latency_ms", float, ENRICHMENT, unit="ms", source=_LATENCY, metric="latency"),
    Column("cost_usd", float, ENRICHMENT, unit="USD", source=_COST, metric="cost"),
    Column("success", bool, ENRICHMENT),
    Column("input_tokens", float, ENRICHMENT, unit="tokens", source=_INPUT),
    Column("output_tokens", float, ENRICHMENT, unit="tokens", source=_OUTPUT),
    Column("total_tokens", float, ENRICHMENT, unit="tokens", source=_TOTAL),
    Column("model", str, METADATA, queried=True),
    Column("provider", str, METADATA, queried=True),
    Column("session_id", str, METADATA),
    Column("user_id", str, METADATA),
    Column("sample_id", str, METADATA),  # rows have the case here if the metadata have no sample_id
    Column("cohort", str, METADATA),
    Column("role", str, SCOPE),
    Column("counted", bool, WHOLE_RUN),
    Column("counted_cost", bool, WHOLE_RUN),
    Column("counted_tokens", bool, WHOLE_RUN),
    Column("tags", str, DEFINITION),
    Column("experiment_metadata", str, DEFINITION),
    Column("cancelled", bool, ENRICHMENT, nullable=False, exported=False),
    Column(WEIGHT, float, EVENT, sparse=True),
)
"""In the order of exports."""


EXPORTED = tuple(column.name for column in COLUMNS if column.exported and not column.sparse)
"""Columns that every export has, before those of measurements and metadata."""
REQUIRED = tuple(column.name for column in COLUMNS if column.required)
KINDS: Mapping[str, type] = {column.name: column.type for column in COLUMNS if column.exported}


def _computed_by(origin: str) -> tuple[str, ...]:
    return tuple(
        column.name for column in COLUMNS if column.computed_by == origin and column.exported
    )


FROM_SCOPE = _computed_by(SCOPE)
FROM_METADATA = _computed_by(METADATA)
COUNTING = _computed_by(WHOLE_RUN)
DESCRIBING = _computed_by(DEFINITION)
QUERIED = tuple(column for column in COLUMNS if column.queried)
WORKED_OUT = _computed_by(ENRICHMENT)
MEASURED = tuple(name for name in WORKED_OUT if KINDS[name] is not str)
NUMBERS = tuple(name for name in MEASURED if KINDS[name] is not bool)
BY_METRIC: Mapping[str, str] = {column.metric: column.name for column in COLUMNS if column.metric}
"""Column names by their names in the summary."""


class Measured(Generic[T]):
    """Something with a ``T`` for each column of `MEASURED`, by name and as an attribute."""

    __slots__ = ()

    def measured(self, column: str) -> T:
        """Return the ``T`` of a column.

        Raises:
            KeyError: `MEASURED` has no such column.
        """
        raise NotImplementedError

    @property
    def latency_ms(self) -> T:
        """Latency in ms. Arrays have NaN for events without one, here and below."""
        return self.measured("latency_ms")

    @property
    def cost_usd(self) -> T:
        """Cost in USD, as events report it or as it was priced."""
        return self.measured("cost_usd")

    @property
    def success(self) -> T:
        """1 for success, 0 for failure, NaN for events that neither succeed nor fail."""
        return self.measured("success")

    @property
    def input_tokens(self) -> T:
        """Tokens of the prompt."""
        return self.measured("input_tokens")

    @property
    def output_tokens(self) -> T:
        """Tokens of the answer."""
        return self.measured("output_tokens")

    @property
    def total_tokens(self) -> T:
        """All tokens, as events report them, else input and output added up."""
        return self.measured("total_tokens")
