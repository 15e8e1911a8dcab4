"""The operators on their own, as anybody's DAG would use them."""

from __future__ import annotations

import datetime as dt
import json
import runpy
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

import stores
from airflow_environment import PROJECT
from marts import tiny
from snapshots.staged_events import event, stage
from wayfare.analyses.chunk import Chunk
from wayfare.errors import ConfigurationError, ServiceError
from wayfare.settings import get_settings

if TYPE_CHECKING:
    from pathlib import Path

    from wayfare.settings import Settings
    from wayfare_airflow.operators.chunk import ChunkOperator

CHUNK = Chunk("economic_results", (dt.date(2026, 3, 1), dt.date(2026, 3, 2)), 7, "f" * 16)


@pytest.mark.parametrize("value", [CHUNK.to_json(), json.dumps(CHUNK.to_json())])
def test_a_chunk_is_read_from_xcom_or_a_template(value: object) -> None:
    from wayfare_airflow.operators.chunk import read_chunk

    assert read_chunk(value) == CHUNK


@pytest.mark.parametrize(
    "value", [None, "", "/", "{'analysis': 'x'}", {"analysis": "x"}, 5, [], CHUNK.to_json() | {"days": []}]
)
def test_anything_else_is_refused_with_what_to_do(value: object) -> None:
    from wayfare_airflow.operators.chunk import read_chunk

    with pytest.raises(
        ConfigurationError, match=r"give it what PlanOperator returned.*clear the run from task `plan` onwards"
    ):
        read_chunk(value)


def test_the_dags_that_the_docs_show_parse_and_their_template_renders_to_a_chunk(tmp_path: Path) -> None:
    from airflow.dag_processing.dagbag import DagBag

    from wayfare_airflow.operators.chunk import read_chunk

    shown = (PROJECT / "docs/dags.md").read_text(encoding="utf-8").split("```python\n")[1].partition("```")[0]
    (tmp_path / "shown.py").write_text(shown, encoding="utf-8")
    bag = DagBag(tmp_path)
    assert bag.import_errors == {}
    assert sorted(bag.dags) == ["a_day_of_economic_results", "after_sessions", "sessions_on_weekdays"]
    publish = bag.dags["a_day_of_economic_results"].task_dict["publish"]
    publish.render_template_fields(
        {"ti": SimpleNamespace(xcom_pull=lambda task_ids: {"plan": [CHUNK.to_json()]}[task_ids])}
    )
    assert read_chunk(publish.chunk) == CHUNK


def test_data_faults_are_not_retried_in_anybody_s_dag() -> None:
    from wayfare_airflow import operators
    from wayfare_airflow.retries import RETRY_POLICY

    for name in set(operators.__all__) - {"PlanOperator"}:
        assert _operator(name).retry_policy is RETRY_POLICY
    assert operators.PlanOperator(task_id="plan", analysis="x").retry_policy is RETRY_POLICY


def test_mapped_operators_have_the_same_defaults() -> None:
    from wayfare_airflow import operators
    from wayfare_airflow.operators.prune import PruneOperator
    from wayfare_airflow.retries import RETRY_POLICY

    for name in set(operators.__all__) - {"PlanOperator"}:
        mapped = getattr(operators, name).partial(task_id="task").expand(chunk=[CHUNK.to_json()])
        assert (mapped.retry_policy, mapped.map_index_template) == (RETRY_POLICY, "{{ days }}")
    plans = operators.PlanOperator.partial(task_id="plan").expand(analysis=["x"])
    prunes = PruneOperator.partial(task_id="prune").expand(keep_days=[30])
    assert plans.retry_policy is prunes.retry_policy is RETRY_POLICY


def test_another_retry_policy_may_be_asked_for() -> None:
    from airflow.sdk import ExceptionRetryPolicy

    mine = ExceptionRetryPolicy(rules=[])
    assert _operator("ExtractOperator", retry_policy=mine).retry_policy is mine


@pytest.mark.parametrize(
    ("operator", "path"),
    [
        ("ValidateOperator", f"docs/validations/economic_results/input/{CHUNK.key}/index.html"),
        ("AuditOperator", f"docs/validations/economic_results/output/{CHUNK.key}/index.html"),
        ("PublishOperator", "marts/economic_results"),
    ],
)
def test_links_lead_to_the_pages(operator: str, path: str) -> None:
    task = _operator(operator)
    (link,) = task.operator_extra_links
    assert link.get_link(task, ti_key=None) == f"/wayfare/{path}"


def test_links_and_the_menu_keep_the_path_of_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://host/airflow")
    task = _operator("PublishOperator")
    (link,) = task.operator_extra_links
    assert link.get_link(task, ti_key=None) == "/airflow/wayfare/marts/economic_results"
    (menu,) = runpy.run_path(str(PROJECT / "plugins/wayfare_plugin.py"))["WayfarePlugin"].external_views
    assert menu["href"] == "/airflow/wayfare/marts"


def test_data_docs_are_where_the_link_leads() -> None:
    from wayfare.quality.docs import page_url

    task = _operator("ValidateOperator")
    (link,) = task.operator_extra_links
    page = page_url("s3://bucket", CHUNK.analysis, "input", CHUNK.key)
    assert link.get_link(task, ti_key=None).endswith(page.removeprefix("s3://bucket/data_"))


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    "operator", ["ExtractOperator", "ValidateOperator", "AnalyzeOperator", "AuditOperator", "PublishOperator"]
)
def test_other_code_than_was_planned_with_does_nothing(operator: str) -> None:
    with pytest.raises(ConfigurationError, match="economic_results: this worker has other code or settings"):
        _operator(operator).execute({"run_id": "manual"})


def test_publish_is_skipped_where_it_changes_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    from wayfare.marts import plan
    from wayfare_airflow.operators import PublishOperator

    tiny.install(monkeypatch, tiny.Sales())
    tiny.touch(settings, 1, {0: 5})
    (late,) = plan(settings, "sales")
    tiny.publish_days(settings, "sales", [0], 2, late.fingerprint)
    tiny.write_result(settings, late, [("LIS", tiny.day(0), 5, 1.0)])
    publish = PublishOperator(task_id="publish", chunk=late.to_json())
    with pytest.raises(AirflowSkipException, match="every day of the chunk is already published from a later batch"):
        publish.execute({"run_id": "late"})


def test_analyze_computes_on_the_engine_of_the_settings(
    settings: Settings, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wayfare_airflow.operators import AnalyzeOperator, PlanOperator

    monkeypatch.setenv("WAYFARE_ENGINE", "spark")
    monkeypatch.setenv("WAYFARE_SPARK_REMOTE", f"sc://127.0.0.1:{free_port}")
    get_settings.cache_clear()
    stage(settings, 1, [event("booking", "2026-03-01")])
    (chunk,) = PlanOperator(task_id="plan", analysis="economic_results").execute({"params": {}})
    with pytest.raises(ServiceError, match=f"the Spark Connect server 127.0.0.1:{free_port} does not answer"):
        AnalyzeOperator(task_id="analyze", chunk=chunk).execute({"run_id": "manual"})


@pytest.mark.parametrize("force", [False, True])
def test_what_one_run_does_not_take_waits_unless_forced(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    from wayfare_airflow.operators import PlanOperator

    stage(settings, 1, [event("booking", dt.datetime(2026, 3, day, tzinfo=dt.UTC)) for day in (1, 2, 3)])
    monkeypatch.setenv("AIRFLOW__CORE__MAX_MAP_LENGTH", "2")
    monkeypatch.setenv("WAYFARE_CHUNK_ROWS", "1")
    get_settings.cache_clear()
    plan = PlanOperator(task_id="plan", analysis="economic_results")
    if force:
        with pytest.raises(ConfigurationError, match=r"3 chunks.*force fewer days, ending with 2026-03-02"):
            plan.execute({"params": {"force": True}})
    else:
        assert len(plan.execute({"params": {}})) == 2


def test_prune_keeps_the_days_that_its_form_says(settings: Settings) -> None:
    from wayfare_airflow.operators.prune import PruneOperator

    stores.write(f"{settings.storage}/xcom/sessions/run/plan/a.gz", b"x", age_days=3)
    removed = [PruneOperator(task_id="prune", keep_days=days).execute({})["files"] for days in ("4", "2")]
    assert removed == [0, 1]


def _operator(name: str, **arguments: Any) -> ChunkOperator:
    from wayfare_airflow import operators

    made: ChunkOperator = getattr(operators, name)(task_id="task", chunk=CHUNK.to_json(), **arguments)
    return made
