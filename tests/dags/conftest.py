"""Every test here has the session's Airflow; `bag` is the DAGs folder as it parses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_environment import prepare

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

    from wayfare.local.postgres import EmbeddedPostgres


@pytest.fixture(scope="session", autouse=True)
def airflow_environment(postgres: EmbeddedPostgres) -> dict[str, str]:
    """Variables of the session's Airflow, which are in `os.environ` too."""
    return prepare(postgres)


@pytest.fixture(scope="session")
def bag(airflow_environment: dict[str, str]) -> DagBag:
    """Every DAG of the folder."""
    from airflow.dag_processing.dagbag import DagBag

    made = DagBag(airflow_environment["AIRFLOW__CORE__DAGS_FOLDER"])
    assert made.import_errors == {}
    assert made.dags, "the DAGs folder is empty"
    return made
