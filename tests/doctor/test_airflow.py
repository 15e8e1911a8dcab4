"""The doctor before a real API server of Airflow, whose scheduler never was, died, or lives."""

from __future__ import annotations

import datetime as dt
import threading
import time
from typing import TYPE_CHECKING

import psutil
import psycopg
import pytest

from airflow_environment import prepare
from wayfare.analyses import registry
from wayfare.doctor import airflow
from wayfare.local.supervisor import remember

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wayfare.doctor import Finding
    from wayfare.local.postgres import EmbeddedPostgres
    from wayfare.settings import Settings

JOBS = {"scheduler": "SchedulerJob", "triggerer": "TriggererJob", "dag_processor": "DagProcessorJob"}


@pytest.fixture(scope="module")
def server(postgres: EmbeddedPostgres) -> Iterator[str]:
    """Address of an API server over the session's metadata."""
    prepare(postgres)
    import uvicorn
    from airflow.api_fastapi.app import cached_app

    running = uvicorn.Server(uvicorn.Config(cached_app(), port=0, lifespan="off", log_level="error"))
    thread = threading.Thread(target=running.run)
    thread.start()
    while not running.started:
        assert thread.is_alive()
        time.sleep(0.05)
    yield f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
    running.should_exit = True
    thread.join()


@pytest.fixture
def metadata(postgres: EmbeddedPostgres, server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection]:
    """Airflow's metadata: what a test writes there is gone after it."""
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", f"{server}/execution/")
    with psycopg.connect(postgres.url("airflow"), autocommit=True) as connection:
        yield connection
        connection.execute("DELETE FROM job WHERE hostname = 'doctor'")
        connection.execute("DELETE FROM import_error WHERE bundle_name = 'doctor'")
        connection.execute("DELETE FROM dag WHERE fileloc = '/dags/doctor.py'")
        connection.execute("DELETE FROM dag_bundle WHERE name = 'doctor'")


def _beat(metadata: psycopg.Connection, part: str, *, age: int = 0) -> None:
    beat = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=age)
    metadata.execute(
        "INSERT INTO job (job_type, state, hostname, start_date, latest_heartbeat)"
        " VALUES (%s, 'running', 'doctor', %s, %s)",
        (JOBS[part], beat, beat),
    )


def _dags(metadata: psycopg.Connection) -> None:
    """Every analysis has its DAG, as after a run of the DAG processor."""
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session

    metadata.execute("INSERT INTO dag_bundle (name) VALUES ('doctor')")
    with create_session() as session:
        for name in registry.analyses():
            if session.get(DagModel, name) is None:
                made = {"is_stale": False, "fileloc": "/dags/doctor.py", "bundle_name": "doctor"}
                session.add(DagModel(dag_id=name, **made))


def _failed(settings: Settings) -> dict[str, Finding]:
    return {f.check: f for f in airflow.examine(settings) if f.status == "failed"}


def test_all_of_airflow_is_well(settings: Settings, metadata: psycopg.Connection) -> None:
    for part in JOBS:
        _beat(metadata, part)
    _dags(metadata)
    found = list(airflow.examine(settings))
    assert {f.check for f in found if f.status == "ok"} == {
        f"airflow.{p}" for p in ("api", "version", "dags", *airflow._PARTS)
    }
    assert len(found) == 7


def test_a_scheduler_that_died_and_others_that_never_ran(settings: Settings, metadata: psycopg.Connection) -> None:
    _beat(metadata, "scheduler", age=600)
    _beat(metadata, "triggerer", age=600)
    assert "AIRFLOW__CORE__FERNET_KEY" in _failed(settings)["airflow.triggerer"].fix
    _beat(metadata, "triggerer")
    found = _failed(settings)
    assert found.keys() >= {"airflow.scheduler", "airflow.dag_processor"}
    assert "airflow.triggerer" not in found
    assert "last sign of life" in found["airflow.scheduler"].found
    assert "airflow dag-processor" in found["airflow.dag_processor"].fix


def test_a_dag_that_does_not_import_and_one_that_is_missing(
    settings: Settings, metadata: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    _dags(metadata)
    metadata.execute(
        "INSERT INTO import_error (timestamp, filename, bundle_name, stacktrace)"
        " VALUES (now(), 'broken.py', 'doctor', E'Traceback\nNameError: nonsense')"
    )
    assert _failed(settings)["airflow.dags"].found == "broken.py does not import: NameError: nonsense"
    metadata.execute("DELETE FROM import_error WHERE bundle_name = 'doctor'")
    monkeypatch.setitem(registry.analyses(), "never_parsed", next(iter(registry.analyses().values())))
    assert _failed(settings)["airflow.dags"].found == "Airflow has no DAG for never_parsed"


def test_another_version_is_running(
    settings: Settings, metadata: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(airflow.metadata, "version", lambda _: "3.0.0")
    assert metadata
    assert "restart Airflow" in _failed(settings)["airflow.version"].fix


def test_a_login_that_is_not_known(
    settings: Settings, metadata: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert metadata
    monkeypatch.setenv("AIRFLOW_ADMIN_PASSWORD", "wrong")
    assert "401" in _failed(settings)["airflow.dags"].found
    monkeypatch.delenv("AIRFLOW_ADMIN_PASSWORD")
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", str(tmp_path / "none.json"))
    assert [f.status for f in airflow.examine(settings) if f.check == "airflow.dags"] == ["info"]


def test_an_api_that_does_not_answer(settings: Settings, free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", f"http://127.0.0.1:{free_port}/execution/")
    found = _failed(settings)
    assert found.keys() == {"airflow.api"}
    monkeypatch.delenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL")
    monkeypatch.delenv("AIRFLOW__API__BASE_URL", raising=False)
    assert [f.status for f in airflow.examine(settings)] == ["info"]
    settings.home.mkdir(parents=True)
    (settings.home / "wayfare.pid").write_text("1 0.0 of-another-boot")  # as a kill leaves it
    assert [f.status for f in airflow.examine(settings)] == ["info"]
    remember(settings.home / "wayfare.pid", psutil.Process())
    assert [f.check for f in airflow.examine(settings.model_copy(update={"port": free_port}))] == ["airflow.api"]
