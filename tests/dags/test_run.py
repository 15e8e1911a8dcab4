"""A DAG from the folder, run by Airflow over the real steps and the real PostgreSQL."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.rows import dict_row

from snapshots.staged_events import event, stage
from wayfare import storage
from wayfare.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.dag_processing.dagbag import DagBag
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance

    from wayfare.settings import Settings

STEPS = {"extract", "validate", "analyze", "audit", "publish"}


def _run(bag: DagBag, **params: Any) -> tuple[DagRun, dict[str, Counter[str]]]:
    """Run economic_results as an asset would start it; the run, and the states of each task's instances."""
    from airflow.dag_processing.dagbag import DagBag as Bag

    dag = Bag(bag.dag_folder).dags["economic_results"]  # a run in this process leaves its params in the DAG
    run = dag.test(logical_date=None, run_conf=params or None)
    states: dict[str, Counter[str]] = {}
    for instance in run.get_task_instances():
        states.setdefault(instance.task_id, Counter())[str(instance.state)] += 1
    return run, states


def _query(settings: Settings, statement: str) -> list[dict[str, Any]]:
    with psycopg.connect(settings.url("owner"), row_factory=dict_row) as connection:
        return connection.execute(statement.encode()).fetchall()


def _sales(*days: int) -> list[Any]:
    return [event("booking", dt.datetime(2026, 3, day, 12, tzinfo=dt.UTC), booking_id=f"B{day}") for day in days]


@pytest.fixture
def xcoms(s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL below which every XCom goes, however small."""
    from airflow.providers.common.io.xcom import backend

    monkeypatch.setenv("AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH", f"{s3}/xcom")
    monkeypatch.setenv("AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_THRESHOLD", "1")
    read_once = (backend._get_base_path, backend._get_threshold)
    for setting in read_once:
        setting.cache_clear()
    yield f"{s3}/xcom"
    for setting in read_once:
        setting.cache_clear()


def test_events_become_published_answers(
    bag: DagBag, settings: Settings, xcoms: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage(settings, 1, _sales(1, 2, 2, 3))

    run, states = _run(bag)

    assert run.state == "success"
    assert states == {"plan": Counter(success=1)} | {step: Counter(success=1) for step in STEPS}
    published = "SELECT booked_on::text, items, gross_before_cancellations_minor AS gross FROM bi.economic_results"
    assert _query(settings, f"{published} ORDER BY booked_on") == [
        {"booked_on": "2026-03-01", "items": 1, "gross": 100},
        {"booked_on": "2026-03-02", "items": 2, "gross": 200},
        {"booked_on": "2026-03-03", "items": 1, "gross": 100},
    ]
    assert _query(settings, "SELECT run_id FROM control.publication") == [{"run_id": run.run_id}]
    assert _updated_assets(run) == ["wayfare://marts/economic_results"]
    stored = {file.split("/")[-2] for file in storage.files(f"{xcoms}/economic_results/{run.run_id}")}
    assert stored == {"plan"} | STEPS

    run, states = _run(bag)

    assert run.state == "success", "nothing is stale: a run that does nothing"
    assert states == {"plan": Counter(success=1)} | {step: Counter(skipped=1) for step in STEPS}
    assert _updated_assets(run) == []

    _one_row_per_chunk(monkeypatch)
    run, states = _run(bag, **{"from": "2026-03-02", "force": True})

    assert run.state == "success"
    assert states == {"plan": Counter(success=1)} | {step: Counter(success=2) for step in STEPS}
    days = "SELECT output_from::text AS day FROM control.publication WHERE output_from = output_to ORDER BY 1"
    assert _query(settings, days) == [{"day": "2026-03-02"}, {"day": "2026-03-03"}]


def test_a_refusal_publishes_nothing_and_is_not_retried(bag: DagBag, settings: Settings) -> None:
    stage(settings, 1, [event("booking", "2026-03-01", units=-1)])

    run, states = _run(bag)

    assert run.state == "failed"
    assert states["validate"] == Counter(failed=1)
    assert states["publish"] == Counter(upstream_failed=1)
    (validate,) = [i for i in run.get_task_instances() if i.task_id == "validate"]
    assert validate.try_number == 1
    assert _query(settings, "SELECT * FROM control.publication") == []
    link = _link(validate)
    assert link.startswith("/wayfare/docs/")
    page = f"{settings.storage}/data_docs/{link.partition('/docs/')[2]}"
    assert "booking: Overview" in storage.read_text(page), "the refusal's page is there"


def _one_row_per_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYFARE_CHUNK_ROWS", "1")
    get_settings.cache_clear()


def _updated_assets(run: DagRun) -> list[str]:
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    events = (
        select(AssetModel.uri)
        .join(AssetEvent, AssetEvent.asset_id == AssetModel.id)
        .where(AssetEvent.source_run_id == run.run_id)
    )
    with create_session() as session:
        return list(session.scalars(events))


def _link(instance: TaskInstance) -> str:
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    links = XComModel.get_many(
        run_id=instance.run_id,
        key="_link_DataDocsLink",
        dag_ids=instance.dag_id,
        task_ids=instance.task_id,
        map_indexes=instance.map_index,
    )
    with create_session() as session:
        return str(XComModel.deserialize_value(session.execute(links).one()[0]))
