"""What an analysis declares: the events it reads, its window, its mart, its expectations, and one function."""

from __future__ import annotations

import datetime as dt
import enum
import re
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import narwhals as nw

from wayfare.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    import pyarrow as pa

    from wayfare.contracts import EventType


class Additivity(enum.Enum):
    """Whether a column may be summed over the mart's days."""

    ADDITIVE = "additive"
    SEMI = "semi-additive: never summed over time"
    NOT = "not additive"
    KEY = "key"


Keep: TypeAlias = "Callable[[Iterable[nw.LazyFrame[Any]]], nw.LazyFrame[Any]]"
SqlType = Literal["bigint", "integer", "double precision", "text", "date", "boolean", "timestamptz"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a mart: its PostgreSQL type, what it says with its unit, and whether it adds up over days."""

    doc: str
    type: SqlType
    additivity: Additivity = Additivity.NOT
    nullable: bool = True

    @property
    def comment(self) -> str:
        """The description BI tools show."""
        return self.doc if self.additivity is Additivity.KEY else f"{self.doc} ({self.additivity.value})"


def key(doc: str, type: SqlType = "text") -> Column:  # noqa: A002 - the field's own name
    """A column of the grain; never null."""
    return Column(doc, type, Additivity.KEY, nullable=False)


def count(doc: str, *, nullable: bool = False) -> Column:
    """A number of things that sums over days."""
    return Column(doc, "bigint", Additivity.ADDITIVE, nullable=nullable)


def minor(doc: str, *, nullable: bool = False) -> Column:
    """An amount in minor units that sums over days."""
    return Column(doc, "bigint", Additivity.ADDITIVE, nullable=nullable)


def distinct(doc: str) -> Column:
    """A distinct count: it does not sum."""
    return Column(doc, "bigint", Additivity.NOT)


def stock(doc: str) -> Column:
    """A level as of an instant: it sums over things, never over time."""
    return Column(doc, "bigint", Additivity.SEMI)


def measure(doc: str, type: SqlType = "double precision") -> Column:  # noqa: A002 - the field's own name
    """A ratio, mean, probability, label or flag: it does not sum."""
    return Column(doc, type, Additivity.NOT)


_IS_COMPLETE = Column(
    "False while expected events, or events landed but not yet published, may still change the row; late events can"
    " change any row",
    "boolean",
)
_PUBLISHED_AT = Column("When the row was published", "timestamptz")
_SUPERSEDED_AT = Column("When a later row took its place; null while it is current", "timestamptz")

EVER = 36_525
"""A century of days: a window that is all there is."""


@dataclass(frozen=True, slots=True)
class Window:
    """Days before and after an output day (or the period it stands for) that its numbers depend on.

    The same declaration decides what is extracted, which output days a late event makes stale, and when a row is
    complete.
    """

    before: int = 0
    after: int = 0


class Every(enum.Enum):
    """What an output day stands for: itself, or the week (from Monday) or month that begins on it.

    >>> Every.WEEK.first(dt.date(2026, 3, 1)), Every.MONTH.last(dt.date(2026, 2, 1))
    (datetime.date(2026, 2, 23), datetime.date(2026, 2, 28))
    """

    DAY = "day"
    WEEK = "week"
    MONTH = "month"

    def first(self, day: dt.date) -> dt.date:
        """First day of the period that `day` is in."""
        if self is Every.WEEK:
            return day - dt.timedelta(day.weekday())
        return day.replace(day=1) if self is Every.MONTH else day

    def last(self, day: dt.date) -> dt.date:
        """Last day of the period that `day` is in."""
        if self is Every.MONTH:
            return self.first(self.first(day) + dt.timedelta(31)) - dt.timedelta(1)
        return self.first(day) + dt.timedelta(6 if self is Every.WEEK else 0)


@dataclass(frozen=True)
class Mart:
    """The published table.

    `grain` is its key; `day` names the grain column that is the output day. A restated mart replaces an output day
    when it is published again. A vintage (`vintage=True`) never rewrites a row: a changed one is closed and its
    revision appended. `ahead=True` says that the output day is a service day, which runs ahead of the events by up to
    `window.before` days. `every` makes an output day stand for a week or month: then `day` is its first.
    """

    day: str
    grain: Mapping[str, Column]
    columns: Mapping[str, Column]
    vintage: bool = False
    ahead: bool = False
    every: Every = Every.DAY
    version: int = 1

    @property
    def all_columns(self) -> dict[str, Column]:
        """Grain, then columns."""
        return {**self.grain, **self.columns}

    @property
    def view_columns(self) -> dict[str, Column]:
        """Columns of `bi.<mart>`: the grain, whether the row is complete, the rest."""
        return {**self.grain, "is_complete": _IS_COMPLETE, **self.columns}

    @property
    def history_columns(self) -> dict[str, Column]:
        """Columns of `bi.<mart>_history`: the grain, from when to when the row stood, the rest."""
        return {**self.grain, "published_at": _PUBLISHED_AT, "superseded_at": _SUPERSEDED_AT, **self.columns}


Severity = Literal["critical", "warning", "info"]


@dataclass(frozen=True)
class Expect:
    """One Great Expectations expectation, by class name, without importing the library.

    A critical row-level breach quarantines the row (input) or refuses the result (output); a warning is recorded.

    >>> Expect("ExpectColumnValuesToBeBetween", {"column": "units", "min_value": 1}).severity
    'critical'
    """

    expectation: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    severity: Severity = "critical"


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of the result, for its documentation page: what it shows, and the query that asks the mart for it.

    `query` is PostgreSQL over the `bi` views and gives `x` (a date, number or text), `y` and, for several lines or
    groups of bars, `series`; it doubles as an example for whoever reads the mart.
    """

    caption: str
    query: str
    mark: Literal["line", "bar"] = "line"


@dataclass(frozen=True)
class Inputs:
    """What one chunk of output days may read; every frame is lazy and of the same engine.

    `given["search"]` are the events of a type.
    """

    events: Mapping[str, nw.LazyFrame[Any]]
    """By type, with their staged columns, tests and quarantined events left out; of types that refer to a sold item
    also with the columns of `wayfare.snapshots.references`."""
    days: nw.LazyFrame[Any]
    """The output days asked for, as `output_on`."""
    rates: nw.LazyFrame[Any]
    """`currency`, `rate_on`, `to_reporting`: one row a day, the factor to minor units of the reporting currency."""
    places: nw.LazyFrame[Any]
    """`wayfare.contracts.reference.places`: airports and cities."""
    first_on: dt.date
    last_on: dt.date
    horizon: dt.date
    """The last day on which any event of the types read has occurred."""
    service_level: float
    """Probability of no shortage that an order quantity must reach, from the settings."""
    frame: Callable[[pa.Table], nw.LazyFrame[Any]]
    """A lazy frame of the same engine over an Arrow table: for what was computed outside of it."""
    keep_all: Keep = lambda frames: nw.concat(list(frames))
    """The rows of all the frames as one, each computed when it comes, and kept."""
    keeping: Callable[[Keep], AbstractContextManager[Keep]] = nullcontext
    """In place of a `keep_all`, one that holds what it keeps until the context ends."""
    days_at_once: int = 10
    """How many output days `by_days` takes at a time: fewer, the more rows each of them repeats."""

    def __getitem__(self, event_type: str) -> nw.LazyFrame[Any]:
        """The events of one type.

        Raises
        ------
        DeclarationError
            The analysis does not read it.
        """
        if event_type not in self.events:
            known = ", ".join(sorted(self.events))
            raise DeclarationError(f"given[{event_type!r}]: name that event type in `reads`, which has {known}")
        return self.events[event_type]

    def output_days(self) -> list[dt.date]:
        """The output days, in order: for what is done day by day."""
        return sorted(self.days.collect(backend="pyarrow")["output_on"].to_list())

    def keep(self, frame: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
        """The same frame, computed once and kept: for one that is costly and used more than once."""
        return self.keep_all([frame])

    def by_days(self, compute: Callable[[Inputs], nw.LazyFrame[Any]]) -> nw.LazyFrame[Any]:
        """What `compute` makes of the inputs, a few output days at a time: for what repeats the window for each day.

        The rows are kept; what `compute` itself keeps goes when those of its days are.
        """
        return self.keep_all(self._by_days(compute))

    def _by_days(self, compute: Callable[[Inputs], nw.LazyFrame[Any]]) -> Iterator[nw.LazyFrame[Any]]:
        days = self.output_days()
        for start in range(0, len(days), self.days_at_once):
            first_on, last_on = days[start], days[start : start + self.days_at_once][-1]
            some = self.days.filter(nw.col("output_on") >= nw.lit(first_on), nw.col("output_on") <= nw.lit(last_on))
            with self.keeping(self.keep_all) as keep_all:
                yield compute(replace(self, days=some, first_on=first_on, last_on=last_on, keep_all=keep_all))


class BehaviorAnalysis:
    """One question about behavior; subclass it in one file, and everything else follows from the class.

    The class docstring's first line is the question the analysis answers; the rest is its documentation page.
    """

    owner: ClassVar[str] = "analytics"
    tags: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[tuple[EventType, ...]]
    window: ClassVar[Window] = Window()
    mart: ClassVar[Mart]
    expect_input: ClassVar[Mapping[str, tuple[Expect, ...]]] = {}
    expect_output: ClassVar[tuple[Expect, ...]] = ()
    picture: ClassVar[Picture | None] = None

    @property
    def name(self) -> str:
        """snake_case of the class name: DAG id and, in its first version, mart and view."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()

    @property
    def relation(self) -> str:
        """Name of the mart's table in `marts` and of its view in `bi`."""
        return self.name if self.mart.version == 1 else f"{self.name}_v{self.mart.version}"

    @property
    def question(self) -> str:
        """First line of the docstring."""
        return (type(self).__doc__ or "").strip().splitlines()[0]

    @property
    def reach(self) -> str:
        """The window in words."""
        period, sides = self.mart.every.value, ((self.window.before, "before"), (self.window.after, "after"))
        if any(n >= EVER for n, _ in sides):
            return "everything there is"
        return ", ".join(f"{n} day{'s' * (n > 1)} {side}" for n, side in sides if n) or f"same {period}"

    def reads_of(self, day: dt.date) -> tuple[dt.date, dt.date]:
        """First and last input day that the output day depends on."""
        first, last = self.mart.every.first(day), self.mart.every.last(day)
        return first - dt.timedelta(self.window.before), last + dt.timedelta(self.window.after)

    def analyze(self, given: Inputs) -> nw.LazyFrame[Any]:
        """The mart's rows for the output days of `given`; columns are the mart's, rows of other days are dropped."""
        raise DeclarationError(f"analysis {self.name}: write analyze(self, given)")

    def totals(self, given: Inputs) -> nw.LazyFrame[Any]:
        """One row that the result must reconcile with: column `c` equals the sum of the mart's column `c`.

        Computed in the shortest way there is from the input, which holds the whole window: narrow it to `given.days`.
        The audit refuses a result that does not add up.
        """
        raise DeclarationError(f"analysis {self.name}: write totals(self, given)")
