"""What every DAG of ours promises, whatever analysis it is for."""

from __future__ import annotations

import ast
import datetime as dt
from typing import TYPE_CHECKING

from airflow_environment import PROJECT
from wayfare import maintenance

if TYPE_CHECKING:
    from pathlib import Path

    from airflow.dag_processing.dagbag import DagBag


def test_dags_say_what_they_are_and_whose(bag: DagBag) -> None:
    for dag in bag.dags.values():
        assert dag.description, dag.dag_id
        assert dag.doc_md, dag.dag_id
        assert "wayfare" in dag.tags, dag.dag_id
        assert all(task.owner not in {"", "airflow"} for task in dag.tasks), dag.dag_id


def test_dags_run_once_at_a_time_from_a_fixed_start(bag: DagBag) -> None:
    for dag in bag.dags.values():
        assert dag.max_active_runs == 1, dag.dag_id
        assert dag.catchup is False, dag.dag_id
        assert dag.start_date == dt.datetime(2026, 1, 1, tzinfo=dt.UTC), dag.dag_id
        assert str(dag.timezone) == "UTC", dag.dag_id


def test_tasks_retry_with_backoff_and_end(bag: DagBag) -> None:
    from wayfare_airflow.retries import RETRY_POLICY

    for dag in bag.dags.values():
        for task in dag.tasks:
            assert task.retries >= 2, task.task_id
            assert task.retry_exponential_backoff > 1, task.task_id
            assert task.retry_policy is RETRY_POLICY, task.task_id
            assert task.retry_delay <= dt.timedelta(minutes=1), "a service that restarts is back by then"
            assert task.execution_timeout is not None, task.task_id


def test_files_are_kept_for_longer_than_a_run_lasts(bag: DagBag) -> None:
    """A chunk whose every task hangs, each time that it is tried, still has its files when it is given up."""
    keep = dt.timedelta(days=min(bag.dags["wayfare_maintenance"].params["keep_days"], maintenance.RUN_DAYS))
    for dag in bag.dags.values():
        assert sum((t.execution_timeout * (t.retries + 1) for t in dag.tasks), dt.timedelta()) < keep, dag.dag_id


def test_days_are_asked_for_in_the_form_and_not_by_a_backfill(bag: DagBag) -> None:
    from airflow.utils.types import DagRunType

    for dag in bag.dags.values():
        if "from" in dag.params:
            assert dag.allowed_run_types == set(DagRunType) - {DagRunType.BACKFILL_JOB}, dag.dag_id


def test_params_are_explained_and_optional(bag: DagBag) -> None:
    for dag in bag.dags.values():
        dag.params.validate()
        assert set(dag.params) in ({"from", "to", "force"}, {"keep_days"}), dag.dag_id
        for name in dag.params:
            schema = dag.params.get_param(name).schema
            assert schema["title"], name
            assert dag.params.get_param(name).description, name


def test_imports_go_from_dags_to_plugins_to_include_only() -> None:
    forbidden = {
        "include": {"airflow", "wayfare_airflow", "wayfare_plugin"},
        "plugins": {"analyses", "wayfare_maintenance"},
        "dags": {"analyses", "wayfare_maintenance", "wayfare_plugin"},
    }
    for room, names in forbidden.items():
        files = sorted((PROJECT / room).rglob("*.py"))
        assert files, room
        for file in files:
            assert not _imported(file) & names, file


def _imported(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found
