"""Where `wayfare up` keeps things below WAYFARE_HOME, and where its Airflow answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def pid_file(home: Path) -> Path:
    """Names the process of `wayfare up`, while it runs."""
    return home / "wayfare.pid"


def logs(home: Path) -> Path:
    """Folder of what Airflow's processes print."""
    return home / "logs"


def passwords_file(home: Path) -> Path:
    """Password of the UI's user `admin`, as Airflow's simple auth manager reads it."""
    return home / "airflow" / "passwords.json"


def ui(port: int) -> str:
    """Address of the Airflow UI, and of its API."""
    return f"http://127.0.0.1:{port}"
