"""Removes what the pipeline no longer needs, and folds the change log of old batches.

Removed are hand-over folders, superseded day files, XComs, leftovers and verdicts. After that, an old run may
no longer find what it was planned for: clear it from task `plan` onwards.
"""

from __future__ import annotations

from airflow.sdk import DAG, CronTriggerTimetable, Param

from wayfare_airflow.factory import START
from wayfare_airflow.operators.prune import PruneOperator
from wayfare_airflow.retries import DEFAULT_ARGS

with DAG(
    dag_id="wayfare_maintenance",
    description="Removes what the pipeline no longer needs.",
    doc_md=__doc__,
    schedule=CronTriggerTimetable("30 3 * * *", timezone="UTC"),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    params={
        "keep_days": Param(
            30,
            type="integer",
            minimum=1,
            title="Keep days",
            description="Days for which files and verdicts that nothing needs are kept.",
        )
    },
    tags=["wayfare", "maintenance"],
    default_args={**DEFAULT_ARGS, "owner": "wayfare"},
):
    PruneOperator(task_id="prune", keep_days="{{ params.keep_days }}")
