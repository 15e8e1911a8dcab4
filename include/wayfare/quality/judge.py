"""Judging one table by one suite, and finding every event that breaks a rule.

A suite is judged in two passes. The first counts the rows that break each rule, where rows can: Great Expectations
bundles the row-level ones into one query. Only what they break is validated, for the details, with the rules that see a
number: validating costs ten times the Python that counting does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wayfare import duck
from wayfare.errors import DeclarationError, ServiceError
from wayfare.quality.context import great_expectations
from wayfare.quality.suites import QUERY, ROWS, build, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from wayfare.analyses.api import Expect
    from wayfare.errors import WayfareError
    from wayfare.quality.suites import Suite

# Uniqueness is the table's property: no single row breaks it, so none could be set aside.
_WHOLE_TABLE = ("ExpectColumnValuesToBeUnique", "ExpectCompoundColumnsToBeUnique")
_DETAILS = {"result_format": "COMPLETE", "partial_unexpected_count": 20, "return_unexpected_index_query": False}


@dataclass(frozen=True)
class Verdict:
    """What became of one expectation; `unexpected` counts rows that break it, None where that has no meaning."""

    asset: str
    expect: Expect
    success: bool
    unexpected: int | None
    observed: Any

    @property
    def message(self) -> str:
        """One sentence for the record."""
        rule = text_of(self.expect)
        if self.success:
            return f"{rule} holds"
        rows = "" if self.unexpected is None else f"{self.unexpected:,} rows break it, "
        return f"{rule} does not hold: {rows}seen: {self.observed_json}"

    @property
    def observed_json(self) -> str | None:
        """What was seen, shortened where it is long."""
        return None if self.observed is None else _json(self.observed)


@dataclass(frozen=True)
class Judgment:
    """Verdicts on one asset, what is behind them, and the result as Data Docs renders it.

    `built` are the expectation objects, and `metrics` the computed metrics by their id.
    """

    verdicts: tuple[Verdict, ...]
    built: tuple[Any, ...]
    batch: Any
    metrics: dict[Any, Any]
    result: Any

    def failed(self, severity: str) -> list[Verdict]:
        """Verdicts of that severity that went against the data."""
        return [v for v in self.verdicts if not v.success and v.expect.severity == severity]


def judge(source: Any, suite: Suite, columns: Sequence[str]) -> Judgment:
    """Judge the table or view `suite.asset`, whose columns are `columns`, of a data source.

    Raises
    ------
    DeclarationError
        An expectation is declared wrongly, or cannot be computed here; names it.
    ConfigurationError
        It takes more memory than the settings give it.
    ServiceError
        The files could not be read.
    """
    gx = great_expectations()
    built = tuple(build(expect, columns, suite.declared, n) for n, expect in enumerate(suite.expects))
    asset = source.add_table_asset(suite.asset, table_name=f'"{suite.asset}"')  # quoted, for it may be a word of SQL
    batch = asset.add_batch_definition_whole_table("all").get_batch()
    counts = {n: count for n, expectation in enumerate(built) if (count := _count(batch, expectation))}
    known = _computed(batch, [*counts.values()])
    # of an empty table, the count is NULL
    found = {n: _unbroken(built[n]) for n, count in counts.items() if count.id in known and not known[count.id]}
    left = [expectation for n, expectation in enumerate(built) if n not in found]
    name = suite.declared.replace(".", " ")
    result = batch.validate(gx.ExpectationSuite(name, expectations=left), result_format=_DETAILS)
    _refuse_crashes(batch, result, built, suite)
    found |= {_number(r): r for r in result.results}
    verdicts = tuple(_verdict(suite.asset, expect, found[n]) for n, expect in enumerate(suite.expects))
    return Judgment(verdicts, built, batch, known, _whole(result, [found[n] for n in range(len(built))]))


def breaking_events(connection: duckdb.DuckDBPyConnection, judgment: Judgment) -> list[Verdict]:
    """Add all events that break a critical row-level rule to the table `quarantined`; return what else is critical.

    The rule itself is run: Great Expectations lists 20 rows of a breach, or 200.
    """
    left: list[Verdict] = []
    for verdict, expectation in zip(judgment.verdicts, judgment.built, strict=True):
        if verdict.success or verdict.expect.severity != "critical":
            continue
        if _row_rule(expectation):
            _add_by_condition(judgment, expectation, verdict)
        elif not _add_by_query(connection, verdict):
            left.append(verdict)
    return left


def _count(batch: Any, expectation: Any) -> Any:
    """The metric that counts the rows that break a rule, None where rows do not."""
    if type(expectation).__name__ == ROWS:
        return _metric(batch, expectation, "unexpected_rows_query.row_count")
    return _metric(batch, expectation, f"{expectation.map_metric}.unexpected_count") if _row_rule(expectation) else None


def _computed(batch: Any, metrics: list[Any]) -> dict[Any, Any]:
    """Metrics, and what they depend on, by id; what cannot be computed is missing, and validating it says why."""
    from great_expectations.validator.metrics_calculator import MetricsCalculator

    engine = batch.data.execution_engine
    engine.batch_manager.load_batch_list([batch])
    computed, _ = MetricsCalculator(engine, show_progress_bars=False).compute_metrics(metrics)
    return dict(computed)


def _unbroken(expectation: Any) -> Any:
    """What validating says of a rule that no row breaks, as far as it is recorded or shown."""
    from great_expectations.core import ExpectationValidationResult

    counted = {"unexpected_count": 0, "unexpected_percent": 0.0} if _row_rule(expectation) else {"observed_value": 0}
    return ExpectationValidationResult(success=True, expectation_config=expectation.configuration, result=counted)


def _metric(batch: Any, expectation: Any, name: str) -> Any:
    """A metric of the rows and with the arguments of an expectation."""
    from great_expectations.expectations.registry import get_metric_kwargs
    from great_expectations.validator.metric_configuration import MetricConfiguration

    configuration = expectation.configuration
    configuration.kwargs["batch_id"] = batch.id
    arguments = get_metric_kwargs(name, configuration=configuration)
    return MetricConfiguration(name, arguments["metric_domain_kwargs"], arguments["metric_value_kwargs"])


def _row_rule(expectation: Any) -> bool:
    return getattr(expectation, "map_metric", None) is not None and type(expectation).__name__ not in _WHOLE_TABLE


def _number(result: Any) -> int:
    return int(result.expectation_config.meta["number"])


def _verdict(asset: str, expect: Expect, result: Any) -> Verdict:
    observed = result.result.get("partial_unexpected_list", result.result.get("observed_value"))
    unexpected = result.result.get("unexpected_count")
    if expect.expectation == ROWS:
        unexpected = int(observed)
        observed = result.result.get("details", {}).get("unexpected_rows", [])[:20] or None
    return Verdict(asset, expect, bool(result.success), unexpected, observed)


def _whole(result: Any, results: list[Any]) -> Any:
    """The second pass's result with the verdicts of both, so that one page shows all."""
    good = sum(bool(r.success) for r in results)
    result.results = results
    result.success = good == len(results)
    result.statistics = {
        "evaluated_expectations": len(results),
        "successful_expectations": good,
        "unsuccessful_expectations": len(results) - good,
        "success_percent": 100 * good / len(results) if results else None,
    }
    return result


def _refuse_crashes(batch: Any, result: Any, built: tuple[Any, ...], suite: Suite) -> None:
    """One rule that DuckDB cannot compute fails its whole bundle: judge each alone to name the one at fault."""
    crashed = [r for r in result.results if _crash(r)]
    for one in crashed:
        alone = batch.validate(built[_number(one)], result_format="BOOLEAN_ONLY")
        if message := _crash(alone):
            raise _refusal(suite, suite.expects[_number(one)], message)
    if crashed:
        first = f"{text_of(suite.expects[_number(crashed[0])])}: {_crash(crashed[0])}"
        raise ServiceError(
            f"analysis {suite.declared}: what failed was computed at a second try, so run the task again: {first}"
        )


def _refusal(suite: Suite, expect: Expect, message: str) -> WayfareError:
    """Great Expectations reports whatever was raised as a text, which begins with the name of DuckDB's exception."""
    what = f"analysis {suite.declared}: {text_of(expect)}"
    if "OutOfMemoryException" in message:
        return duck.out_of_memory(what, message)
    if "IOException" in message or "HTTPException" in message:
        return ServiceError(f"{what} could not read its files: {message}")
    advice = "correct its query" if expect.expectation == ROWS else f"write it as {ROWS} with a query"
    return DeclarationError(f"{what} cannot be computed on DuckDB: {message}; {advice}")


def _crash(result: Any) -> str | None:
    """Great Expectations' message where an expectation raised, in either shape it reports that."""
    info = result.exception_info or {}
    for entry in (info, *(v for v in info.values() if isinstance(v, dict))):
        if entry.get("raised_exception") and entry.get("exception_message"):
            return " ".join(str(entry["exception_message"]).split())[:500]
    return None


def _add_by_condition(judgment: Judgment, expectation: Any, verdict: Verdict) -> None:
    """Insert by the condition that Great Expectations compiled for the rule, over its own rows (row_condition)."""
    import sqlalchemy as sa

    engine = judgment.batch.data.execution_engine
    metric = _metric(judgment.batch, expectation, f"{expectation.map_metric}.condition")
    condition, compute, accessor = judgment.metrics[metric.id]
    rows = engine.get_domain_records({**compute, **accessor})
    if isinstance(rows, sa.Select):
        rows = rows.subquery()
    event_id = sa.cast(sa.column("event_id"), sa.Uuid())
    chosen = sa.select(sa.literal(verdict.asset), event_id, sa.literal(text_of(verdict.expect)))
    target = sa.table("quarantined", sa.column("event_type"), sa.column("event_id"), sa.column("rule"))
    with engine.engine.begin() as connection:
        connection.execute(
            target.insert().from_select(
                ["event_type", "event_id", "rule"], chosen.where(condition).select_from(rows).distinct()
            )
        )


def _add_by_query(connection: duckdb.DuckDBPyConnection, verdict: Verdict) -> bool:
    """Insert what an UnexpectedRowsExpectation's query finds, if it says which events; else it is about the batch."""
    if verdict.expect.expectation != ROWS:
        return False
    query = verdict.expect.arguments[QUERY].rstrip("; \n").format(batch=verdict.asset)
    if "event_id" not in connection.sql(query).columns:
        return False
    connection.execute(
        f"INSERT INTO quarantined SELECT DISTINCT ?, CAST(event_id AS UUID), ? FROM ({query})",  # noqa: S608 - the author's own query
        [verdict.asset, text_of(verdict.expect)],
    )
    return True


def _json(value: Any) -> str:
    """JSON of a value; past 2,000 characters, the beginning of it as a JSON string."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 2000 else json.dumps(f"{text[:1800]}...")
