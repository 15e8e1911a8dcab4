"""docker-compose.yaml and Dockerfile, read: no default secrets, bounded services, pinned images, what is kept."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values

from wayfare.collector.server import GRACE_SECONDS
from wayfare.doctor.machine import MEMORY_SHARE
from wayfare.settings import Settings

PROJECT = Path(__file__).resolve().parents[1]
TEXT = (PROJECT / "docker-compose.yaml").read_text()
COMPOSE: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DONE = "service_completed_successfully"
LANDING = {"WAYFARE_LANDING_ROWS", "WAYFARE_QUEUE_NAME"}
SERVED = {"WAYFARE_HOME", "WAYFARE_PORT", "WAYFARE_DATABASE_PORT", "WAYFARE_DUCKDB_SPILL", "WAYFARE_CUSTOMER_KEY"}
"""Settings that the file decides."""
CHOICES = {v for n in Settings.model_fields if not (v := f"WAYFARE_{n.upper()}").endswith("_URL")} - SERVED
CHOICES |= {"WAYFARE_STORAGE_URL"}
"""Settings that an installation chooses in .env; they hide nothing."""


def test_every_secret_must_be_given() -> None:
    for variable, condition in re.findall(r"(?<!\$)\$\{(\w+)([^}]*)\}", TEXT):
        assert (condition == ":?run make env") != (variable in CHOICES), variable


def test_secrets_are_made_where_there_are_none(tmp_path: Path) -> None:
    for file in ("docker-compose.yaml", "scripts/make_env.py"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        shutil.copy(PROJECT / file, tmp_path / file)
    (tmp_path / ".env").write_text('REDIS_PASSWORD=\nS3_SECRET_KEY=mine\nAIRFLOW_PASSWORD=""\nWAYFARE_TIMEZONE=UTC')
    (tmp_path / ".env").chmod(0o644)
    found = []
    with (tmp_path / ".env").open() as opened_before:
        for _ in range(2):
            subprocess.run([sys.executable, tmp_path / "scripts" / "make_env.py"], check=True)
            found.append(dotenv_values(tmp_path / ".env"))
        assert len(opened_before.read().splitlines()) == 4, "whoever was let read it learns no secret"
    assert {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.glob(".env*")} == {".env": 0o600}
    assert found[0] == found[1]
    assert found[0].items() >= {"S3_SECRET_KEY": "mine", "WAYFARE_TIMEZONE": "UTC"}.items()
    wanted = {variable for variable, condition in re.findall(r"\$\{(\w+)([^}]*)\}", TEXT) if condition.startswith(":?")}
    assert found[0].keys() == wanted | {"WAYFARE_TIMEZONE"}
    assert all(found[0].values())


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_bounded_unprivileged_and_started_again(name: str) -> None:
    service = SERVICES[name]
    assert {"mem_limit", "cpus", "pids_limit"} <= set(service)
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("read_only") is True or name == "postgres"
    assert service["restart"] == ("no" if name == "migrate" else "unless-stopped")


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_published_listens_on_loopback(name: str) -> None:
    ports, networks = SERVICES[name].get("ports", []), SERVICES[name]["networks"]
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in ports)
    assert ("edge" in networks) == bool(ports)
    assert COMPOSE["networks"]["inside"] == {"internal": True}


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned_and_our_own_is_not_root(name: str) -> None:
    service = SERVICES[name]
    image = service.get("image") or service["build"]["dockerfile_inline"]
    if image == "wayfare:local":
        assert service["user"] == "10001:10001"
    else:
        assert re.search(r":\d+\.\d+", image)


def test_our_image_is_of_pinned_parts_and_not_root() -> None:
    text = (PROJECT / "Dockerfile").read_text()
    assert re.findall(r"^FROM .*@sha256:[0-9a-f]{64}$", text, re.MULTILINE) == re.findall(
        r"^FROM .*", text, re.MULTILINE
    )
    assert re.findall(r"^USER .*", text, re.MULTILINE) == ["USER 10001:10001"]
    assert "uv pip sync --no-cache --require-hashes" in text
    assert "AIRFLOW__CORE__LOAD_EXAMPLES=False" in text


def test_spark_is_of_the_clients_version_and_works_as_the_workers_do() -> None:
    spark = SERVICES["spark"]
    assert spark["image"] == f"apache/spark:{version('pyspark-client')}"
    assert (spark["user"], spark["volumes"]) == (SERVICES["worker"]["user"], SERVICES["worker"]["volumes"])
    assert spark["tmpfs"] == ["/tmp:exec"]
    assert SERVICES["worker"]["environment"]["WAYFARE_SPARK_REMOTE"] == "${WAYFARE_SPARK_REMOTE:-sc://spark:15002}"


def test_who_works_has_the_time_to_stop() -> None:
    assert int(SERVICES["collector"]["stop_grace_period"].removesuffix("s")) > GRACE_SECONDS
    assert (SERVICES["worker"]["stop_grace_period"], SERVICES["queue-lander"]["stop_grace_period"]) == ("2m", "30s")


def test_what_must_outlive_a_container_is_in_a_volume() -> None:
    assert SERVICES["postgres"]["volumes"] == ["database:/var/lib/postgresql"]
    assert (SERVICES["redis"]["volumes"], SERVICES["queue"]["volumes"]) == (["celery:/data"], ["queue:/data"])


@pytest.mark.parametrize("name", ["redis", "queue"])
def test_redis_keeps_what_it_acknowledged(name: str) -> None:
    redis = SERVICES[name]
    options = dict(zip(redis["command"], redis["command"][1:], strict=False))
    wanted = {"--appendonly": "yes", "--appendfsync": "always", "--maxmemory-policy": "noeviction", "--dir": "/data"}
    assert options.items() >= wanted.items()
    most = int(options["--maxmemory"].removesuffix("mb"))
    assert most <= 0.65 * 1024 * int(redis["mem_limit"].removesuffix("g")), "rewriting its file takes memory, too"


def test_the_queue_is_no_redis_of_celerys() -> None:
    """It would take no tasks while it is full of events."""
    assert {n for n, s in SERVICES.items() if "@redis:" in str(s)}.isdisjoint({"collector", "queue-lander"})
    command = SERVICES["queue"]["command"]
    assert [part for part in command if part.startswith("~")] == ["~${WAYFARE_QUEUE_NAME:-wayfare.events}*"]
    assert command[1:4] == ["--user", "default", "off"]


def test_airflow_runs_what_it_finds_and_asks_for_a_login() -> None:
    environment = SERVICES["scheduler"]["environment"]
    assert environment["AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION"] == "False"
    assert environment["AIRFLOW__CORE__AUTH_MANAGER"].endswith(".FabAuthManager")
    assert environment["AIRFLOW__CORE__FERNET_KEY"].startswith("${AIRFLOW_FERNET_KEY:?")
    assert int(environment["AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT"]) <= 90


def test_only_migrating_knows_the_owner() -> None:
    assert {n for n, s in SERVICES.items() if "WAYFARE_OWNER_PASSWORD" in str(s)} == {"postgres", "migrate"}
    assert SERVICES["worker"]["environment"]["WAYFARE_PIPELINE_URL"].startswith("postgresql://wayfare_pipeline:")


@pytest.mark.parametrize("name", ["collector", "queue-lander"])
def test_who_lands_knows_nothing_else(name: str) -> None:
    environment = SERVICES[name]["environment"]
    assert not [v for v in environment if v.startswith(("AIRFLOW", "WAYFARE_PIPELINE", "WAYFARE_DATABASE"))]
    assert "${REDIS_PASSWORD" not in environment["WAYFARE_QUEUE_URL"]
    assert "WAYFARE_CUSTOMER_KEY" in environment, "customers land in clear"
    others = [SERVICES[other] for other in SERVICES if SERVICES[other].get("environment") != environment]
    assert not set(SERVICES[name]["volumes"]) & {volume for other in others for volume in other.get("volumes", ())}


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"postgres", "superset"}))
def test_a_service_has_a_user_since_root_without_capabilities_cannot_become_one(name: str) -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", SERVICES[name]["user"])


def test_postgres_is_not_healthy_while_it_initializes() -> None:
    check = SERVICES["postgres"]["healthcheck"]["test"]
    assert check[check.index("-h") + 1] == "127.0.0.1"


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("worker", CHOICES - LANDING),
        ("migrate", CHOICES - LANDING),
        ("triggerer", CHOICES - LANDING),
        ("collector", LANDING | {"WAYFARE_TIMEZONE"}),
        ("queue-lander", LANDING | {"WAYFARE_TIMEZONE"}),
    ],
)
def test_what_an_installation_chooses_reaches_who_uses_it(name: str, choices: set[str]) -> None:
    environment = SERVICES[name]["environment"]
    assert {v: environment.get(v, "").split(":-")[0] for v in choices} == {v: "${" + v for v in choices}


@pytest.mark.parametrize("name", [name for name in SERVICES if SERVICES[name].get("image") == "wayfare:local"])
def test_duckdb_may_take_its_share_of_a_container(name: str) -> None:
    assert Settings.model_fields["duckdb_memory_limit"].default == "1GB"
    assert int(SERVICES[name]["mem_limit"].removesuffix("g")) * 2**30 * MEMORY_SHARE >= 1e9


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"migrate", "queue-lander"}))
def test_a_service_is_asked_whether_it_is_well(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_waits_for_what_it_needs(name: str) -> None:
    needed = SERVICES[name].get("depends_on", {})
    for other, how in needed.items():
        assert how["condition"] == ("service_healthy" if "healthcheck" in SERVICES[other] else DONE)
        assert how.get("required", True) == ("profiles" not in SERVICES[other])
    assert ("redis" in needed) == (name in {"scheduler", "worker"})
    assert ("queue" in needed) == (name in {"collector", "queue-lander"})
    assert ("objects" in needed) == (name in {"api-server", "worker"})
    assert ("migrate" in needed) == (name not in {"postgres", "redis", "queue", "objects", "migrate"})
