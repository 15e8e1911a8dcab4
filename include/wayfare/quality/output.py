"""What the output gate judges: a view of the result, and the suite that its mart, its days and its totals make."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from wayfare.errors import DeclarationError
from wayfare.quality.suites import Suite, mart_expects, no_rows

if TYPE_CHECKING:
    import duckdb

    from wayfare.analyses.api import BehaviorAnalysis, Expect, Inputs, Mart
    from wayfare.analyses.chunk import Chunk

RELATIVE_ERROR = 1e-9
"""By how much a sum of floats may differ from its total: the order of summing is DuckDB's own."""


def register(connection: duckdb.DuckDBPyConnection, analysis: BehaviorAnalysis, chunk: Chunk, result: str) -> int:
    """Make the view of the result, named as the analysis, and the table `chunk_days`; return the result's rows."""
    from wayfare.engines.frames import days_of

    view = connection.read_parquet(result)
    view.create_view(analysis.name)
    connection.from_arrow(days_of(chunk)).create("chunk_days")
    return len(view)


def suite(connection: duckdb.DuckDBPyConnection, analysis: BehaviorAnalysis, given: Inputs, rows: int) -> Suite:
    """Columns, key, NULLs, days, totals, and what the analysis expects of its output, where there are any rows.

    Raises
    ------
    DeclarationError
        `totals` is not one row of the mart's columns, asks for what is not there, or gives a column what it cannot
        add up to.
    DataError
        A value in it cannot be computed with.
    """
    expects = (
        *mart_expects(analysis.mart),
        *_day_expects(connection, analysis, given),
        *_total_expects(analysis, given),
        *(analysis.expect_output if rows else ()),
    )
    return Suite(analysis.name, expects, f"{analysis.name}.expect_output")


def _day_expects(
    connection: duckdb.DuckDBPyConnection, analysis: BehaviorAnalysis, given: Inputs
) -> tuple[Expect, ...]:
    """No day that was not asked for; and no day without rows that has events of the first type read.

    The second is a warning: whether an event must show is the analysis's to say, and totals refuse what is lost. For
    vintages and marts of service days, an event's day and an output day are different things.
    """
    mart = analysis.mart
    expects = [
        no_rows(
            "every day is one that was asked for",
            f'DISTINCT "{mart.day}"',
            f'WHERE "{mart.day}" NOT IN (FROM chunk_days)',
        )
    ]
    if not (mart.vintage or mart.ahead):
        primary = analysis.reads[0].name
        connection.from_arrow(_collected(given[primary].select("event_on").unique())).create("event_days")
        shown = f'(SELECT "{mart.day}" FROM {{batch}})'  # noqa: S608 - a declared column
        event_on = f"date_trunc('{mart.every.value}', event_on)::date"
        gap = f"WHERE {event_on} IN (FROM chunk_days) AND {event_on} NOT IN {shown}"
        says = f"a day with {primary} events has rows"
        expects.append(no_rows(says, "event_on AS no_rows_on", gap, "warning", "event_days"))
    return tuple(expects)


def _total_expects(analysis: BehaviorAnalysis, given: Inputs) -> list[Expect]:
    from wayfare.engines.frames import answer

    with answer(analysis, "totals", given) as frame:
        totals = _collected(frame).to_pylist()
    if len(totals) != 1:
        raise DeclarationError(f"analysis {analysis.name}: totals returns {len(totals)} rows; return one row of sums")
    unknown = set(totals[0]) - set(analysis.mart.columns)
    if unknown:
        raise DeclarationError(
            f"analysis {analysis.name}: totals has {', '.join(sorted(unknown))}; name its columns as the mart's"
        )
    sums = {name: value for name, value in totals[0].items() if value is not None}
    for name, value in sums.items():
        kind = analysis.mart.columns[name].type
        adds_up = kind not in {"text", "date", "timestamptz"} and isinstance(value, int | float | Decimal)
        if not adds_up or (kind != "double precision" and value % 1 != 0):
            raise DeclarationError(
                f"analysis {analysis.name}: totals has {value!r} for {name}, which is {kind}; a total is the sum of a "
                "column of numbers, and whole where they are"
            )
    return [_total(analysis.mart, name, value) for name, value in sums.items()]


def _total(mart: Mart, name: str, value: Any) -> Expect:
    published = f'coalesce(sum("{name}"), 0)'
    if mart.columns[name].type == "double precision":
        value = f"'{float(value)!r}'::DOUBLE"  # quoted, for it may be inf or nan
        apart = f"abs({published} - {value}) > {RELATIVE_ERROR} * greatest(1, abs({value}))"
        wrong = f"{published} <> {value} AND ({apart} OR NOT isfinite({value}))"
    else:
        wrong = f"{published} <> {int(value)}"
    return no_rows(f"{name} adds up to its total", f"{published} AS published, {value} AS total", f"HAVING {wrong}")


def _collected(frame: Any) -> Any:
    """An Arrow table of a frame."""
    return frame.lazy().collect(backend="pyarrow").to_native()
