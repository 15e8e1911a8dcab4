"""The installation of docker-compose.yaml, natively, on S3: events over HTTP and Redis, Celery workers killed."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import fsspec
import msgspec
import psycopg
import pytest
from pydantic import SecretStr
from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError

from e2e.native import Native, forks_preloaded, pause_all_but
from programs import required
from published import published
from waiting import until
from wayfare import landing, simulator
from wayfare.pipeline import bring_up_to_date

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wayfare.settings import Settings

ANALYSES = ("destination_demand", "economic_results")
"""Those that run: a mart of what was looked at, and one of what was sold."""
BUCKET = "s3://wayfare"
SOONER = {
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
    "WAYFARE_DEBOUNCE_SECONDS": "1",
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Native]:
    """Every service but those of other profiles than s3, with two workers; only `ANALYSES` are not paused."""
    required("redis-server", "redis-server")
    made = Native(tmp_path_factory.mktemp("compose") / "native", SOONER, {"WAYFARE_STORAGE_URL": BUCKET})
    made.postgres.start()
    made.start("redis")
    made.start("queue")
    made.start("objects")
    try:
        made.finish("migrate")
        for name in ("api-server", "scheduler", "dag-processor", "triggerer", "worker", "collector", "queue-lander"):
            made.start(name)
        made.start("worker", 2)
        until(lambda: _is_healthy(made), 180, lambda: made.log("api-server"), 0.5)
        url = made.postgres.url("airflow")
        until(lambda: pause_all_but(ANALYSES, url), 120, lambda: made.log("dag-processor"), 0.5)
        yield made
    finally:
        made.stop()


def _is_healthy(stack: Native) -> bool:
    try:
        health = json.loads(_get(stack, "/api/v2/monitor/health"))
        urllib.request.urlopen(f"http://127.0.0.1:{stack.ports['collector']}/health", timeout=5)
    except OSError:
        return False
    return all((state or {}).get("status") == "healthy" for state in health.values())


def _get(stack: Native, path: str, token: str = "") -> bytes:
    url = f"http://127.0.0.1:{stack.ports['api-server']}{path}"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return bytes(answer.read())


def _login(stack: Native, name: str) -> str:
    body = json.dumps({"username": name, "password": stack.secrets[f"AIRFLOW_{name.upper()}_PASSWORD"]}).encode()
    url = f"http://127.0.0.1:{stack.ports['api-server']}/auth/token"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.load(answer)["access_token"])


def _send(stack: Native, token: str, lines: list[bytes]) -> None:
    until(lambda: _post_events(stack, token, b"")[0] != 401, 30, lambda: stack.log("collector"))
    for start in range(0, len(lines), 1_000):
        part = lines[start : start + 1_000]
        status, answer = _post_events(stack, token, b"".join(part))
        assert status == 200, answer
        assert answer["queued"] == len(part)


def _post_events(stack: Native, token: str, body: bytes) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/x-ndjson"}
    url = f"http://127.0.0.1:{stack.ports['collector']}/v1/events"
    return _answered(urllib.request.Request(url, body, headers))


def _answered(request: urllib.request.Request) -> tuple[int, dict[str, Any]]:
    """Status and body, whatever the status."""
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, {"text": error.read().decode()}


def _kill_during(stack: Native, task: str) -> None:
    """Kill the worker that runs `task` as soon as one does, and start it again."""
    found: list[str] = []
    running = "SELECT pid FROM task_instance WHERE task_id = %s AND state = 'running' AND pid IS NOT NULL"
    with psycopg.connect(stack.postgres.url("airflow"), autocommit=True) as metadata:

        def is_running() -> bool:
            found[:] = [title for (pid,) in metadata.execute(running, [task]) for title in stack.titles_of(pid)]
            return bool(found)

        until(is_running, 180, lambda: (task, stack.log("scheduler")))
    stack.kill(found[0])
    stack.start("worker", 2 if found[0].endswith("2") else 1)


def _status(stack: Native) -> dict[str, dict[str, Any]]:
    rows = json.loads(stack.wayfare("status", "--json"))
    return {row["analysis"]: row for row in rows if row["analysis"] in ANALYSES}


def test_killed_workers_lose_and_double_nothing(stack: Native, settings: Settings, tmp_path: Path) -> None:
    simulator.simulate(
        tmp_path / "events", days=4, customers=80, seed=3, form="jsonl", duplicate_share=0.02, broken_share=0.0
    )
    lines = [
        msgspec.json.encode({**msgspec.json.decode(line), "source": "web"}) + b"\n"
        for file in sorted((tmp_path / "events").glob("*.jsonl"))
        for line in file.read_bytes().splitlines()
    ]
    (tmp_path / "events.jsonl").write_bytes(b"".join(lines))
    types = "search,view,offer,booking,purchase,cancellation,refund,travel,inventory"
    token = stack.wayfare("producer", "add", "web", "--types", types).strip().splitlines()[-1]
    until(lambda: forks_preloaded(stack.running["worker"].pid), 60, lambda: stack.log("worker"))
    _send(stack, token, lines)

    for task in ("extract", "analyze", "publish"):
        _kill_during(stack, task)
    until(
        lambda: all(r["stale_days"] == 0 and r["rows"] for r in _status(stack).values()),
        300,
        lambda: _status(stack),
        3,
    )

    keyed = settings.model_copy(update={"customer_key": SecretStr(stack.secrets["WAYFARE_CUSTOMER_KEY"])})
    landing.land(keyed, [str(tmp_path / "events.jsonl")])
    for name in ANALYSES:
        assert list(bring_up_to_date(settings, name))
    mine = stack.postgres.url()
    assert published(mine, ANALYSES) == published(settings.url("owner"), ANALYSES)
    with psycopg.connect(mine) as here, psycopg.connect(settings.url("owner")) as there:
        counted = "SELECT sum(landed)::bigint, sum(duplicates)::bigint FROM control.batch"
        assert here.execute(counted).fetchone() == there.execute(counted).fetchone()


def test_all_files_are_in_the_object_store(stack: Native) -> None:
    worker = stack.environment("worker")
    store = fsspec.filesystem(
        "s3",
        endpoint_url=worker["AWS_ENDPOINT_URL_S3"],
        key=worker["AWS_ACCESS_KEY_ID"],
        secret=worker["AWS_SECRET_ACCESS_KEY"],
        skip_instance_cache=True,
    )
    assert {path.split("/")[1] for path in store.ls("wayfare", detail=False)} >= {"snapshots", "work", "data_docs"}
    assert not (stack.folder / "state" / "storage").exists()
    viewer = _login(stack, "viewer")
    index = _get(stack, "/wayfare/docs/index.html", viewer).decode()
    links = re.findall(r'href="(validations/[^"]+)"', index)
    assert {link.split("/")[1] for link in links} == set(ANALYSES)
    for link in links:
        assert b"Everything holds." in _get(stack, f"/wayfare/docs/{link}", viewer)


def test_who_lands_reaches_nothing_but_the_queue_in_redis(stack: Native) -> None:
    url = stack.environment("collector")["WAYFARE_QUEUE_URL"]
    with Redis.from_url(url) as landing:
        landing.llen("wayfare.events")
        for refused in ("LPUSH default x", "SMEMBERS _kombu.binding.default", "KEYS *", "FLUSHALL", "CONFIG GET *"):
            with pytest.raises(NoPermissionError):
                landing.execute_command(*refused.split())
    port = {name: str(stack.ports[name]) for name in ("queue", "redis")}
    nobody = f"redis://127.0.0.1:{port['queue']}/2"
    for strange in (url.replace(port["queue"], port["redis"]), nobody):
        with Redis.from_url(strange) as stranger, pytest.raises(AuthenticationError):
            stranger.ping()


def test_roles_see_and_do_what_they_may(stack: Native) -> None:
    analyst, viewer = _login(stack, "analyst"), _login(stack, "viewer")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        _get(stack, "/api/v2/dags")
    for token, may in ((analyst, True), (viewer, False)):
        assert len(json.loads(_get(stack, "/api/v2/dags", token))["dags"]) > len(ANALYSES)
        assert _may_trigger(stack, token) == may
    with pytest.raises(urllib.error.HTTPError, match="403"):
        _get(stack, "/api/v2/connections", analyst)
    assert b"connections" in _get(stack, "/api/v2/connections", _login(stack, "admin"))


def _may_trigger(stack: Native, token: str) -> bool:
    url = f"http://127.0.0.1:{stack.ports['api-server']}/api/v2/dags/sessions/dagRuns"
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    body = json.dumps({"logical_date": None, "dag_run_id": f"by-hand-{time.time()}"}).encode()
    status, answer = _answered(urllib.request.Request(url, body, headers))
    assert status in {200, 403}, answer
    return status == 200
