"""What is expected: of each event type from its contract, of each mart from its declaration, and what authors add.

Suites are lists of `Expect`; `build` turns one into an expectation object of Great Expectations, or says what is wrong
with the declaration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wayfare.analyses.api import Expect
from wayfare.contracts import EVENT_TYPES, Kind
from wayfare.contracts.sizes import sizes
from wayfare.errors import DeclarationError, nearest
from wayfare.quality.context import great_expectations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wayfare.analyses.api import BehaviorAnalysis, Mart, Severity
    from wayfare.contracts import EventType

ROWS = "UnexpectedRowsExpectation"
QUERY = "unexpected_rows_query"
_COLUMN_ARGUMENTS = ("column", "column_A", "column_B", "column_list")
_SET_BY_WAYFARE = {"severity", "meta", "id", "rendered_content", "windows", "result_format", "catch_exceptions"}


@dataclass(frozen=True)
class Suite:
    """Expectations of one table or view of the gate's DuckDB session; `declared` says in whose declaration they are."""

    asset: str
    expects: tuple[Expect, ...]
    declared: str


def no_rows(says: str, select: str, rest: str, severity: Severity = "critical", table: str = "{batch}") -> Expect:
    """Expectation that `SELECT {select} FROM {table} {rest}` finds nothing; `{batch}` is the table judged."""
    query = f"SELECT {select} FROM {table} {rest}"  # noqa: S608 - declared columns and constants
    return Expect(ROWS, {"description": says, QUERY: query}, severity)


LEAST_WEEKS = 4
WEEKS = 8
_USUAL_FACTOR = 3

VOLUME = Suite(
    "volume",
    (
        no_rows("a day file holds as many events as the change log says", "*", "WHERE counted <> logged"),
        no_rows(
            f"a day has what its weekday usually has, within a factor of {_USUAL_FACTOR}",
            "*",
            f"WHERE logged < usual / {_USUAL_FACTOR} OR logged > usual * {_USUAL_FACTOR}",
            "warning",
        ),
    ),
    "volume",
)
"""Days of the table `volume` (see `wayfare.quality.events`): a day file holds as many events as the change log says
(critical); an output day has at least a third and at most three times the events of its type that the same weekday
usually has (a warning): the median of the 8 weeks before, where at least 4 of them have events."""


def contract_expects(event_type: EventType) -> tuple[Expect, ...]:
    """What the contract itself says of every event of a type."""
    required = [f.name for f in event_type.fields if f.required] + ["event_on", "landed_at", "batch_id"]
    expects = [Expect("ExpectTableColumnsToMatchSet", {"column_set": required, "exact_match": False})]
    expects += [Expect("ExpectColumnValuesToNotBeNull", {"column": name}) for name in required]
    for field in event_type.fields:
        if field.kind is Kind.CHOICE:
            allowed = {"column": field.name, "value_set": list(field.choices)}
            expects.append(Expect("ExpectColumnValuesToBeInSet", allowed))
    for column, least, most, severity in sizes(event_type):
        sides = {"min_value": least} if most is None else {"min_value": least, "max_value": most}
        expects.append(Expect("ExpectColumnValuesToBeBetween", {"column": column, **sides}, severity))
    return tuple(expects)


def input_suite(analysis: BehaviorAnalysis, event_type: EventType) -> Suite:
    """The contract's expectations of one event type, then the analysis's own."""
    own = analysis.expect_input.get(event_type.name, ())
    return Suite(event_type.name, contract_expects(event_type) + tuple(own), f"{analysis.name}.expect_input")


def mart_expects(mart: Mart) -> tuple[Expect, ...]:
    """Columns as declared, the grain a key, and no NULL where none is declared.

    The key is checked by grouping: Great Expectations' own compound uniqueness joins the mart with itself.
    """
    columns = mart.all_columns
    grain = ", ".join(f'"{name}"' for name in mart.grain)
    filled = [name for name, column in columns.items() if not column.nullable]
    return (
        Expect("ExpectTableColumnsToMatchOrderedList", {"column_list": list(columns)}),
        no_rows("the grain is a key", f"{grain}, count(*) AS rows", f"GROUP BY {grain} HAVING count(*) > 1"),
        *(Expect("ExpectColumnValuesToNotBeNull", {"column": name}) for name in filled),
    )


def check(analysis: BehaviorAnalysis) -> None:
    """Build every expectation that a registered analysis declares, without data.

    Raises
    ------
    DeclarationError
        An expectation, an argument or a column does not exist; names the nearest one that does. Or an argument is of
        another type, or Great Expectations cannot compute the expectation in SQL.
    """
    from wayfare.snapshots import schema  # imported late: it brings Arrow along

    for name, expects in analysis.expect_input.items():
        columns = schema(EVENT_TYPES[name]).names
        for expect in expects:
            build(expect, columns, f"{analysis.name}.expect_input[{name!r}]")
    for expect in analysis.expect_output:
        build(expect, list(analysis.mart.all_columns), f"{analysis.name}.expect_output")


def build(expect: Expect, columns: Sequence[str], declared: str, number: int = 0) -> Any:
    """The Great Expectations object of one declaration; `columns` are those there are.

    Raises
    ------
    DeclarationError
        See `check`.
    """
    known = great_expectations().expectations
    where = f"analysis {declared}: {expect.expectation}"
    names = [n for n in dir(known) if n.startswith("Expect") or n == ROWS]
    if expect.expectation not in names:
        raise DeclarationError(
            f"{where} is not an expectation of Great Expectations{nearest(expect.expectation, names)}"
        )
    made = getattr(known, expect.expectation)
    fields = set(made.__fields__) - _SET_BY_WAYFARE
    for argument in expect.arguments:
        if argument not in fields:
            raise DeclarationError(f"{where} takes no argument {argument!r}{nearest(argument, fields)}")
    if not _is_sql(made):
        raise DeclarationError(f"{where} cannot be computed on DuckDB; write it as {ROWS} with a query")
    try:
        built = made(**expect.arguments, severity=expect.severity, meta={"number": number})
    except ValueError as error:  # pydantic's ValidationError, of whichever major version Great Expectations carries
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())  # type: ignore[attr-defined]  # pydantic's
        raise DeclarationError(f"{where}: {faults}") from None
    except great_expectations().exceptions.GreatExpectationsError as error:  # a row_condition it cannot parse
        raise DeclarationError(f"{where}: {error}") from None
    for column in _columns_named(expect):
        if column not in columns:
            raise DeclarationError(f"{where}: there is no column {column!r}{nearest(column, columns)}")
    return built


def _is_sql(made: Any) -> bool:
    """Whether the rows that break it can be counted in a database: some expectations are of pandas alone."""
    from great_expectations.expectations.registry import get_sqlalchemy_metric_provider

    if metric := getattr(made, "map_metric", None):
        try:
            get_sqlalchemy_metric_provider(f"{metric}.unexpected_count")
        except great_expectations().exceptions.MetricProviderError:
            return False
    return True


def fields_of(expect: Expect) -> str | None:
    """The columns an expectation names, joined by commas."""
    return ", ".join(_columns_named(expect)) or None


def text_of(expect: Expect) -> str:
    """The expectation's description, or else how it is declared, like `ExpectColumnValuesToBeUnique(column=sku)`."""
    if described := expect.arguments.get("description"):
        return str(described)
    arguments = ", ".join(f"{key}={value}" for key, value in expect.arguments.items())
    return f"{expect.expectation}({arguments})"


def _columns_named(expect: Expect) -> list[str]:
    named: list[str] = []
    for argument in _COLUMN_ARGUMENTS:
        value = expect.arguments.get(argument) or []
        named += [value] if isinstance(value, str) else map(str, value)
    return named
