"""Airflow: the environment and command lines of its processes on one machine, its metadata, and the UI's users."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from wayfare.errors import ConfigurationError, ServiceError
from wayfare.local.home import logs, passwords_file, ui
from wayfare.settings import PROJECT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wayfare.local.secrets import Secrets

PROCESSES: dict[str, tuple[str, ...]] = {
    "api-server": ("api-server", "--workers", "1"),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
"""The four processes and their arguments; log servers stay off because they listen on every address."""

_METADATA = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"


def environment(home: Path, database_url: str, port: int, secrets: Secrets) -> dict[str, str]:
    """Environment of every Airflow process: this process's own, with Airflow's settings.

    `database_url` is the `postgresql://` URL of Airflow's own metadata database.
    """
    airflow_home = home / "airflow"
    python_path = os.pathsep.join([str(PROJECT / "include"), str(PROJECT / "plugins")])
    base = ui(port)
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": python_path,
        "WAYFARE_HOME": str(home),
        "AIRFLOW_HOME": str(airflow_home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__EXECUTOR": "wayfare_airflow.executor.PreloadedLocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__FERNET_KEY": secrets.fernet,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{base}/execution/",
        "AIRFLOW__CORE__AUTH_MANAGER": (
            "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
        ),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords_file(home)),
        _METADATA: database_url.replace("postgresql://", "postgresql+psycopg2://", 1),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": base,
        "AIRFLOW__API__SECRET_KEY": secrets.session,
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.jwt,
        "AIRFLOW__API__INSTANCE_NAME": "Wayfare",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "30",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "20",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(airflow_home / "logs"),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }


def command(process: str) -> list[str]:
    """Command line of one of `PROCESSES`."""
    return [sys.executable, "-m", "airflow", *PROCESSES[process]]


def require_metadata(environment: Mapping[str, str]) -> None:
    """Refuse an environment that does not say where Airflow keeps its metadata: Airflow would fall back on a file.

    Raises
    ------
    ConfigurationError
        It does not.
    """
    given = [environment.get(f"{_METADATA}{suffix}", "") for suffix in ("", "_CMD", "_SECRET")]
    if not any(given) or given[0].startswith("sqlite"):
        raise ConfigurationError(
            f"set {_METADATA} to postgresql+psycopg2://airflow:PASSWORD@HOST:PORT/airflow, with the password of "
            "AIRFLOW_PASSWORD: otherwise Airflow keeps its metadata in a SQLite file, which its other processes do not "
            "see"
        )


def migrate(home: Path, environment: Mapping[str, str]) -> None:
    """Bring Airflow's metadata to its version.

    Raises
    ------
    ServiceError
        It failed; the message names the log.
    """
    log = logs(home) / "airflow-migrate.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        done = subprocess.run(
            [sys.executable, "-m", "airflow", "db", "migrate"],
            env=dict(environment),
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    if done.returncode != 0:
        raise ServiceError(f"Airflow's database could not be migrated: read {log}")


def write_users(environment: Mapping[str, str]) -> None:
    """Create or update the UI's users under the FAB auth manager; passwords are in the environment.

    Raises
    ------
    ServiceError
        It failed; the message ends with what Airflow said.
    """
    path = os.pathsep.join(filter(None, [str(PROJECT / "plugins"), environment.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", "wayfare_airflow.users"],
        env={**environment, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise ServiceError(f"Airflow's users could not be written: {done.stderr[-2000:]}")


def write_login(home: Path, password: str) -> None:
    """Write the password of the UI's user `admin` where Airflow's simple auth manager reads it, for its owner alone."""
    file = passwords_file(home)
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        json.dump({"admin": password}, out)
