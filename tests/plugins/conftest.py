"""Every test here has the session's Airflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_environment import prepare

if TYPE_CHECKING:
    from wayfare.local.postgres import EmbeddedPostgres


@pytest.fixture(scope="session", autouse=True)
def airflow_environment(postgres: EmbeddedPostgres) -> dict[str, str]:
    """Variables of the session's Airflow, which are in `os.environ` too."""
    return prepare(postgres)
