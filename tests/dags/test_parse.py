"""Parsing the DAGs folder, in a process of its own: complete, without errors, and light."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from wayfare.analyses import registry
from wayfare.analyses.sessions import Sessions

_PARSE = """
import json, sys, time
import airflow
from airflow.dag_processing.dagbag import DagBag
import airflow.sdk, airflow.serialization.serialized_objects
before = time.perf_counter()
bag = DagBag(sys.argv[1])
seconds = time.perf_counter() - before
from airflow import plugins_manager
plugins, _ = plugins_manager._get_plugins()
print(json.dumps({
    "seconds": seconds,
    "dags": sorted(bag.dags),
    "errors": bag.import_errors,
    "plugins": [p.name for p in plugins if str(p.source).startswith("$PLUGINS_FOLDER")],
    "modules": sorted(sys.modules),
}))
"""

HEAVY = {"pandas", "great_expectations", "duckdb", "pyarrow", "pgpq", "scipy", "pyspark", "polars"}


@pytest.fixture(scope="session")
def parsed(airflow_environment: dict[str, str]) -> dict[str, Any]:
    folder = airflow_environment["AIRFLOW__CORE__DAGS_FOLDER"]
    done = subprocess.run([sys.executable, "-c", _PARSE, folder], check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_folder_parses_without_errors(parsed: dict[str, Any]) -> None:
    assert parsed["errors"] == {}
    assert parsed["dags"] == sorted([*registry.analyses(), "wayfare_maintenance"])


def test_an_analysis_may_be_called_as_what_the_folder_uses(
    airflow_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.dag_processing.dagbag import DagBag

    class BuildDag(Sessions):
        """Is the next one built?"""

    monkeypatch.setattr(registry, "analyses", lambda: {a.name: a for a in (BuildDag(), Sessions())})
    bag = DagBag(f"{airflow_environment['AIRFLOW__CORE__DAGS_FOLDER']}/analyses.py")
    assert (bag.import_errors, sorted(bag.dags)) == ({}, ["build_dag", "sessions"])


def test_a_task_makes_its_own_dag_alone(airflow_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.dag_processing.dagbag import DagBag

    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "sessions")  # as Airflow's own context does, and leaves it
    bag = DagBag(f"{airflow_environment['AIRFLOW__CORE__DAGS_FOLDER']}/analyses.py")
    assert (bag.import_errors, sorted(bag.dags)) == ({}, ["sessions"])


def test_heavy_libraries_stay_unloaded(parsed: dict[str, Any]) -> None:
    print(f"parse of the DAGs folder beyond importing Airflow: {parsed['seconds']:.2f} s")  # noqa: T201 - a figure to read, not to assert
    assert HEAVY.isdisjoint(parsed["modules"])
    assert parsed["plugins"] == ["wayfare"]
    assert "fastapi" not in parsed["modules"], "every task loads the plugins"
    assert "sqlalchemy" in parsed["modules"], "Airflow loads it itself; if it no longer does, add it to HEAVY"
