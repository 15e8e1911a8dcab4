"""Makes the DAG of an analysis: plan, then [extract, validate, analyze, audit, publish] per chunk of stale days."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pendulum
from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable, chain, task_group
from airflow.utils.types import DagRunType

from wayfare_airflow.assets import STAGING, mart_asset
from wayfare_airflow.operators import (
    AnalyzeOperator,
    AuditOperator,
    ExtractOperator,
    PlanOperator,
    PublishOperator,
    ValidateOperator,
)
from wayfare_airflow.params import form
from wayfare_airflow.retries import DEFAULT_ARGS

if TYPE_CHECKING:
    from typing import Any

    from wayfare.analyses.api import BehaviorAnalysis

START = pendulum.datetime(2026, 1, 1, tz="UTC")
DAILY_FLOOR = "0 5 * * *"
"""Brings marts up to date even if no announcement of a batch arrives."""
RUN_TYPES = [kind for kind in DagRunType if kind is not DagRunType.BACKFILL_JOB]
"""Not Airflow's Backfill: its runs have a logical date and no days in the form, so each would do whatever is stale."""


def build_dag(analysis: BehaviorAnalysis) -> DAG:
    """The DAG of an analysis; its id is the analysis's name."""
    with DAG(
        dag_id=analysis.name,
        description=analysis.question,
        doc_md=documentation(analysis),
        schedule=AssetOrTimeSchedule(
            timetable=CronTriggerTimetable(DAILY_FLOOR, timezone="UTC"),
            assets=[STAGING],
        ),
        start_date=START,
        catchup=False,
        max_active_runs=1,
        allowed_run_types=RUN_TYPES,  # type: ignore[arg-type]  # of the SDK's own copy of the type
        params=form(),
        tags=["wayfare", *analysis.tags],
        default_args={**DEFAULT_ARGS, "owner": analysis.owner},
    ) as dag:
        plan = PlanOperator(task_id="plan", analysis=analysis.name)
        _per_chunk(analysis).expand(chunk=plan.output)
    return dag


def documentation(analysis: BehaviorAnalysis) -> str:
    """The DAG's page: the analysis's docstring, what it reads, and its mart column by column (Markdown)."""
    mart = analysis.mart
    reads = ", ".join(f"`{event_type.name}`" for event_type in analysis.reads)
    lines = [
        inspect.cleandoc(type(analysis).__doc__ or ""),
        "",
        f"Reads {reads}; window around each {mart.every.value} (`{mart.day}`): {analysis.reach}.",
        "",
        f"### `bi.{analysis.relation}`",
        "",
        "| column | type | meaning |",
        "|---|---|---|",
        *(f"| `{name}` | {c.type} | {c.comment.replace('|', '&#124;')} |" for name, c in mart.view_columns.items()),
    ]
    return "\n".join(lines)


def _per_chunk(analysis: BehaviorAnalysis) -> Any:
    @task_group(group_id="chunks", prefix_group_id=False)
    def chunks(chunk: dict[str, Any]) -> None:
        chain(
            ExtractOperator(task_id="extract", chunk=chunk),
            ValidateOperator(task_id="validate", chunk=chunk),
            AnalyzeOperator(task_id="analyze", chunk=chunk),
            AuditOperator(task_id="audit", chunk=chunk),
            PublishOperator(task_id="publish", chunk=chunk, outlets=[mart_asset(analysis.name)]),
        )

    return chunks
