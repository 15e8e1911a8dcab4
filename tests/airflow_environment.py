"""One Airflow for the test session: a home folder, and its metadata in the session's PostgreSQL (SQLite locks).

Importing Airflow reads its environment, so no test module may import it, or `wayfare_airflow`, at its top.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from wayfare.local.postgres import EmbeddedPostgres

PROJECT = Path(__file__).resolve().parents[1]
USERS = {"admin": "admin", "reader": "viewer"}


@functools.cache
def prepare(server: EmbeddedPostgres) -> dict[str, str]:
    """Put Airflow's variables into this process's environment and migrate its metadata, once."""
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE airflow")
        connection.execute("REVOKE CONNECT ON DATABASE airflow FROM PUBLIC")
    home = Path(tempfile.mkdtemp(prefix="wayfare-airflow-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    passwords = home / "passwords.json"
    passwords.write_text(json.dumps(dict.fromkeys(USERS, "test")))
    variables = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__XCOM_BACKEND": "airflow.providers.common.io.xcom.backend.XComObjectStorageBackend",
        "AIRFLOW__CORE__AUTH_MANAGER": (
            "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
        ),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:{role}" for user, role in USERS.items()),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": server.url("airflow").replace("postgresql:", "postgresql+psycopg2:"),
        "AIRFLOW__API__BASE_URL": "http://localhost:8080",
        "AIRFLOW__API_AUTH__JWT_SECRET": "a secret of the test session, long enough for HS512 ............",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "PYTHONPATH": os.pathsep.join([str(PROJECT / "include"), str(PROJECT / "plugins")]),
    }
    os.environ.update(variables)
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True)
    return variables
