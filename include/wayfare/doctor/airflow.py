"""Airflow, asked over HTTP as anybody outside of it would: health, version, and whether every analysis has its DAG."""

from __future__ import annotations

import json
import os
import urllib.request
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wayfare.analyses import registry
from wayfare.doctor.findings import Finding, failed, info, ok
from wayfare.local.home import logs, passwords_file, pid_file, ui
from wayfare.local.supervisor import remembered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wayfare.settings import Settings

_USER = "admin"
_EXECUTION = "/execution/"
_PARTS = {
    "metadatabase": "Airflow's own database",
    "scheduler": "the scheduler",
    "triggerer": "the triggerer",
    "dag_processor": "the DAG processor",
}


def examine(settings: Settings) -> Iterator[Finding]:
    """Findings about the Airflow that the environment names, or that `wayfare up` started in this home."""
    base = _address(settings)
    if base is None:
        yield info("airflow", "no Airflow is configured or running here (`wayfare up` starts one)")
        return
    try:
        health = _get(f"{base}/api/v2/monitor/health")
        version = _get(f"{base}/api/v2/version")["version"]
    except (OSError, ValueError) as error:
        fix = f"start it (`wayfare up`, or `airflow api-server`); its log is in {logs(settings.home)} or its container"
        yield failed("airflow.api", f"{base} does not answer: {error}", fix)
        return
    yield ok("airflow.api", f"answers at {base}")
    for part in _PARTS:
        yield _part(part, health.get(part) or {})
    yield _version(version)
    yield from _dags(base, settings)


def _address(settings: Settings) -> str | None:
    """The address that Airflow's own processes use, which a container reaches; otherwise the local installation's.

    Where that does not run, whoever has its port is a stranger, who would be sent a password.
    """
    inside = os.environ.get("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", "").removesuffix(_EXECUTION)
    named = inside or os.environ.get("AIRFLOW__API__BASE_URL", "").rstrip("/")
    is_local = remembered(pid_file(settings.home)) is not None
    return named or (ui(settings.port) if is_local else None)


def _part(part: str, state: dict[str, Any]) -> Finding:
    check, command = f"airflow.{part}", part.replace("_", "-")
    if state.get("status") == "healthy":
        return ok(check, f"{_PARTS[part]} is healthy")
    beat = state.get(f"latest_{part}_heartbeat")
    last = f"; its last sign of life was at {beat}" if beat else ""
    fix = f"start it (`wayfare up`, or `airflow {command}`) and read its log"
    if part == "triggerer":  # which reads what is encrypted, as no other part does
        fix += "; `InvalidToken` there: AIRFLOW__CORE__FERNET_KEY is not the key of this metadata (docs/operations.md)"
    if part == "metadatabase":
        fix = "start its PostgreSQL, or correct AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
    return failed(check, f"{_PARTS[part]} is not healthy{last}", fix)


def _version(running: str) -> Finding:
    installed = metadata.version("apache-airflow")
    if running == installed:
        return ok("airflow.version", f"Airflow {running}")
    fix = "restart Airflow from this installation, so that both are of one version"
    return failed("airflow.version", f"Airflow {running} is running, {installed} is installed here", fix)


def _dags(base: str, settings: Settings) -> Iterator[Finding]:
    """Import errors and missing DAGs, for which the API wants a login."""
    password = _password(settings)
    if password is None:
        yield info("airflow.dags", "not asked: the password of Airflow's user admin is not on this machine")
        return
    try:
        token = _get(f"{base}/auth/token", {"username": _USER, "password": password})["access_token"]
        errors = _get(f"{base}/api/v2/importErrors", token=token)["import_errors"]
        dags = _dag_ids(base, token)
    except (OSError, ValueError, KeyError) as error:
        yield failed("airflow.dags", f"Airflow did not answer: {error}", f"log in as {_USER} at {base}, and look there")
        return
    for broken in errors:
        last = str(broken["stack_trace"]).strip().splitlines()[-1]
        yield failed(
            "airflow.dags",
            f"{broken['filename']} does not import: {last}",
            "fix the file; `wayfare check` may say how",
        )
    missing = sorted(registry.analyses().keys() - dags)
    if missing:
        fix = "wait half a minute after a start; if it stays so, read the DAG processor's log"
        yield failed("airflow.dags", f"Airflow has no DAG for {', '.join(missing)}", fix)
    elif not errors:
        yield ok("airflow.dags", f"{len(dags)} DAGs import, one for every analysis")


def _dag_ids(base: str, token: str) -> set[str]:
    """Every DAG's id; Airflow gives them a page at a time."""
    found = set[str]()
    while page := _get(f"{base}/api/v2/dags?limit=50&offset={len(found)}", token=token)["dags"]:
        found |= {dag["dag_id"] for dag in page}
    return found


def _password(settings: Settings) -> str | None:
    given = os.environ.get("AIRFLOW_ADMIN_PASSWORD")
    named = os.environ.get("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE")
    file = Path(named) if named else passwords_file(settings.home)
    if given or not file.exists():
        return given
    password: str | None = json.loads(file.read_text()).get(_USER)
    return password


def _get(url: str, body: dict[str, str] | None = None, *, token: str | None = None) -> Any:
    """The JSON at `url`; with `body`, what it answers to that."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(url, data, headers)  # noqa: S310  # http(s), from the operator's own settings
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  # as above
        return json.load(answer)
