"""The two gates of a chunk: `validate` judges what it reads, `audit` what it computed. A refusal publishes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wayfare.analyses import registry
from wayfare.errors import GateError
from wayfare.storage import exists, write_atomic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wayfare.analyses.chunk import Chunk
    from wayfare.quality.judge import Judgment
    from wayfare.settings import Settings
    from wayfare.snapshots import DayFile

_RULE = (
    "correct the rule in expect_input, or allow more events to be set aside (WAYFARE_QUARANTINE_SHARE), then run the "
    "analysis again; staged events do not change, so have future ones corrected at their source"
)
_FILES = (
    "remove the folder `snapshots` of the storage, which is made again from staging, and run the analysis again; if it "
    "is refused again, staging no longer matches what was landed, for instance because a backup was restored on top of "
    "existing data: restore it as docs/operations.md says"
)
_BROKEN = """
SELECT event_type, rule, count(*) AS events, CAST(min(event_id, 5) AS text[]) AS first
FROM quarantined GROUP BY event_type, rule ORDER BY event_type, rule
"""


def validate(settings: Settings, chunk: Chunk) -> dict[str, Any]:
    """Judge the day files that a chunk reads; write its `quarantine.parquet`; return rows, quarantined, warnings, docs.

    Events that break a critical row-level rule are set aside: the analysis does not see them. Test events are not
    judged. `docs` is the path or URL of the Data Docs page. Running it again replaces everything it wrote.

    Raises
    ------
    GateError
        More than `quarantine_share` of the events would be set aside, a critical rule about a whole table does not
        hold, or a day file is missing.
    DeclarationError
        An expectation is declared wrongly.
    ServiceError
        PostgreSQL does not answer.
    """
    from wayfare import snapshots
    from wayfare.engines import session
    from wayfare.quality import docs, events, records
    from wayfare.quality.context import datasource
    from wayfare.quality.judge import breaking_events, judge
    from wayfare.quality.suites import VOLUME, input_suite

    analysis = registry.get(chunk.analysis)
    files = snapshots.day_files(settings, chunk)
    _require(settings, chunk, files)
    with session(settings) as connection, datasource(connection) as source:
        judged = events.register(connection, settings, analysis, chunk, files)
        suites = [*(input_suite(analysis, e) for e in analysis.reads if judged.get(e.name)), VOLUME]
        judgments = [judge(source, suite, connection.table(suite.asset).columns) for suite in suites]
        failures = [v for judgment in judgments for v in breaking_events(connection, judgment)]
        page = docs.write(settings.storage, chunk.analysis, "input", chunk.key, judgments)
        verdicts = [v for judgment in judgments for v in judgment.verdicts]
        records.record_verdicts(settings, chunk, "input", verdicts, {**judged, "volume": len(files)})
        aside = connection.table("quarantined").order("ALL")
        write_atomic(chunk.quarantine(settings.storage), aside.write_parquet)
        records.record_quarantine(settings, chunk, files, events.quarantined(connection, chunk))
        (quarantined,) = connection.execute("SELECT count(DISTINCT event_id) FROM quarantined").fetchone() or (0,)
        broken = connection.execute(_BROKEN).fetchall()
    rows = sum(judged.values())
    reasons = [f"{v.asset}: {v.message}" for v in failures]
    if quarantined > settings.quarantine_share * rows:
        reasons.append(
            f"{quarantined:,} of {rows:,} events break a rule, and WAYFARE_QUARANTINE_SHARE allows "
            f"{settings.quarantine_share:.2%} to be set aside"
        )
        reasons += [f"{name}: {n:,} events break {rule}; first: {', '.join(ids)}" for name, rule, n, ids in broken]
    is_other = any(v.asset == VOLUME.asset for v in failures)
    _refuse(chunk, "input", reasons, page, _FILES if is_other else _RULE)
    return {"rows": rows, "quarantined": quarantined, "warnings": _warnings(judgments), "docs": page}


def audit(settings: Settings, chunk: Chunk) -> dict[str, Any]:
    """Judge a chunk's `result.parquet` before anybody sees it; return rows, warnings, docs.

    Raises
    ------
    GateError
        There is no result, or a critical expectation of it does not hold: columns, key, NULLs, days, totals.
    DeclarationError
        An expectation or a total is declared wrongly.
    """
    from wayfare.engines import inputs, session
    from wayfare.quality import docs, output, records
    from wayfare.quality.context import datasource
    from wayfare.quality.judge import judge

    analysis = registry.get(chunk.analysis)
    result = chunk.result(settings.storage)
    if not exists(result):
        raise GateError(f"analysis {chunk.analysis}: there is no {result}; run analyze for this chunk first")
    with session(settings) as connection, datasource(connection) as source:
        rows = output.register(connection, analysis, chunk, result)
        suite = output.suite(connection, analysis, inputs(connection, settings, chunk), rows)
        judgment = judge(source, suite, connection.table(suite.asset).columns)
    page = docs.write(settings.storage, chunk.analysis, "output", chunk.key, [judgment])
    records.record_verdicts(settings, chunk, "output", judgment.verdicts, {suite.asset: rows})
    reasons = [f"{v.asset}: {v.message}" for v in judgment.failed("critical")]
    advice = "correct the analysis, or what it declares in expect_output and totals, then run it again"
    _refuse(chunk, "result", reasons, page, advice)
    return {"rows": rows, "warnings": _warnings([judgment]), "docs": page}


def _require(settings: Settings, chunk: Chunk, files: Sequence[DayFile]) -> None:
    missing = [url for url in (f.url(settings.storage) for f in files) if not exists(url)]
    if missing:
        raise GateError(
            f"analysis {chunk.analysis}: {len(missing)} of {len(files)} day files are missing, first {missing[0]}; "
            "run extract for this chunk again"
        )


def _warnings(judgments: Sequence[Judgment]) -> int:
    return sum(len(judgment.failed("warning")) for judgment in judgments)


def _refuse(chunk: Chunk, what: str, reasons: Sequence[str], page: str, advice: str) -> None:
    from wayfare.quality import docs

    if reasons:
        docs.keep(page)
        where = (
            f"analysis {chunk.analysis}, days {chunk.days[0]} to {chunk.days[-1]} through batch {chunk.through_batch}"
        )
        lines = [f"{where}: the {what} is refused, nothing was published", *(f"- {reason}" for reason in reasons)]
        raise GateError("\n".join([*lines, f"All verdicts: {page}", f"What to do: {advice}"]))
