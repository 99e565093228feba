"""The columns of an event, each written down once.

Rows of exports, arrays of queries and the columns of a group get their names and types from here.
`enrichment` works out what an event does not say as it stands. How a column is added:
docs/extending.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Generic, TypeVar

EVENT, SCOPE, ROW, METADATA, ENRICHMENT = "event", "scope", "row", "metadata", "enrichment"
"""What a column is computed by: what was recorded with the event; its scope; the row itself, from
other columns; metadata of the same name, as it stands; enrichment."""

NAME, PLACE = "name", "place"
"""What a text is to an anonymised export: a name of this package's things, or a test or case."""

NS_PER_MS = 1_000_000
WEIGHT = "sampling_weight"
"""How many events a row stands for."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Told:
    """Under which keys an event tells a number; the first that holds a finite one counts.

    Attributes:
        keys: in the order in which they are looked for.
        sources: where, in the order in which it is looked there.
        divisor: what the number is divided by to have the column's unit.
        in_tokens: keys that mean this only inside ``tokens: {…}``.
    """

    keys: tuple[str, ...]
    sources: tuple[str, ...] = ("measurements", "metadata")
    _: KW_ONLY
    divisor: float | None = None
    in_tokens: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Column:
    """A column of events.

    Attributes:
        name: in exports, and of the attribute where it is one.
        type: of its values: str, int, float or bool. A text from the metadata may be anything; it
            is a text to what must have one type.
        computed_by: `EVENT`, `SCOPE`, `ROW`, `METADATA` or `ENRICHMENT`.
        unit: empty where there is none.
        nullable: whether there are events without it.
        exported: whether exports have it.
        sparse: whether only those have it in which any event does.
        required: whether a file must have it to be read back.
        queried: whether queries over columns know this text. (They know all that is measured.)
        told: the keys that tell it, if enrichment need do no more than look there.
        metric: its name in the summary, where anomalies in it are looked for, on a log scale.
        shown: `NAME` or `PLACE`; else its name decides what an anonymised export shows of a text.
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
    told: Told | None = None
    metric: str = ""
    shown: str = ""


_LATENCY = Told(("duration", "duration_ns"), ("measurements",), divisor=NS_PER_MS)
_COST = Told(("cost_usd", "cost", "total_cost"), ("metadata", "measurements"))
_INPUT = Told(("input_tokens", "prompt_tokens"), in_tokens=("prompt", "input"))
_OUTPUT = Told(("output_tokens", "completion_tokens"), in_tokens=("completion", "output"))
_TOTAL = Told(("total_tokens",), in_tokens=("total",))

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
    Column("latency_ms", float, ENRICHMENT, unit="ms", told=_LATENCY, metric="latency"),
    Column("cost_usd", float, ENRICHMENT, unit="USD", told=_COST, metric="cost"),
    Column("success", bool, ENRICHMENT),
    Column("input_tokens", float, ENRICHMENT, unit="tokens", told=_INPUT),
    Column("output_tokens", float, ENRICHMENT, unit="tokens", told=_OUTPUT),
    Column("total_tokens", float, ENRICHMENT, unit="tokens", told=_TOTAL),
    Column("model", str, METADATA, queried=True),
    Column("provider", str, METADATA, queried=True),
    Column("session_id", str, METADATA),
    Column("user_id", str, METADATA),
    Column("sample_id", str, METADATA),  # the row says the case where the metadata say nothing
    Column("cohort", str, METADATA),
    Column("role", str, SCOPE),
    Column("cancelled", bool, ENRICHMENT, nullable=False, exported=False),
    Column(WEIGHT, float, EVENT, sparse=True),
)
"""In the order in which exports have them."""


EXPORTED = tuple(each.name for each in COLUMNS if each.exported and not each.sparse)
"""Columns that every export has; those of measurements and metadata follow."""
REQUIRED = tuple(each.name for each in COLUMNS if each.required)
KINDS: Mapping[str, type] = {each.name: each.type for each in COLUMNS if each.exported}


def _computed_by(what: str) -> tuple[str, ...]:
    return tuple(each.name for each in COLUMNS if each.computed_by == what and each.exported)


FROM_SCOPE = _computed_by(SCOPE)
FROM_METADATA = _computed_by(METADATA)
QUERIED = tuple(each for each in COLUMNS if each.queried)
WORKED_OUT = _computed_by(ENRICHMENT)
MEASURED = tuple(name for name in WORKED_OUT if KINDS[name] is not str)
NUMBERS = tuple(name for name in MEASURED if KINDS[name] is not bool)
BY_METRIC: Mapping[str, str] = {each.metric: each.name for each in COLUMNS if each.metric}
"""Columns by the names that the summary has for them."""


class Measured(Generic[T]):
    """What has a ``T`` for each of `MEASURED`: for typing, and to be asked by name or attribute."""

    __slots__ = ()

    def measured(self, column: str) -> T:
        """One of them by its name.

        Raises:
            KeyError: there is no such column.
        """
        raise NotImplementedError

    @property
    def latency_ms(self) -> T:
        """Of what has a duration. In arrays NaN where an event has none, here and below."""
        return self.measured("latency_ms")

    @property
    def cost_usd(self) -> T:
        """As events tell it, or as it was priced."""
        return self.measured("cost_usd")

    @property
    def success(self) -> T:
        """1, 0, or NaN for events that neither succeed nor fail."""
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
        """As told, else both together."""
        return self.measured("total_tokens")
