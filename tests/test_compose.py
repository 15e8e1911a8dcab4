"""docker-compose.yaml: no default secrets, loopback only, and commands that exist here."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from wayfare.local.postgres import EmbeddedPostgres

PROJECT = Path(__file__).resolve().parents[1]
TEXT = (PROJECT / "docker-compose.yaml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]


def test_every_secret_must_be_given() -> None:
    for variable in re.findall(r"\$\{[^}]+\}", TEXT):
        assert re.fullmatch(r"\$\{\w+:\?run make env\}", variable), variable


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_bounded_and_listens_on_loopback(name: str) -> None:
    service = SERVICES[name]
    assert "mem_limit" in service
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    if name != "postgres":
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"] is True


def test_migrate_prepares_a_server_with_the_files_own_environment(
    tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scripts").mkdir()
    for file in ("docker-compose.yaml", "scripts/make_env.py"):
        (tmp_path / file).write_text((PROJECT / file).read_text())
    for _ in range(2):
        subprocess.run([sys.executable, "scripts/make_env.py"], check=True)
    env_file = tmp_path / ".env"
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
    secrets = dict(line.split("=", 1) for line in env_file.read_text().splitlines())
    server = EmbeddedPostgres(tmp_path / "pg" / "data", free_port, secrets["WAYFARE_OWNER_PASSWORD"])
    server.start()
    try:
        given = {k: _filled(str(v), secrets, free_port) for k, v in SERVICES["migrate"]["environment"].items()}
        home = {"WAYFARE_HOME": str(tmp_path / "home"), "AIRFLOW_HOME": str(tmp_path / "home" / "airflow")}
        environment = {**os.environ, **given, **home}
        program = "from wayfare.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", program, *SERVICES["migrate"]["command"][1:]],
            env=environment | {"PYTHONPATH": str(PROJECT / "include")},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        with psycopg.connect(given["WAYFARE_PIPELINE_URL"]) as connection:
            connection.execute("SELECT count(*) FROM control.change")
        metadata = given["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("+psycopg2", "")
        with psycopg.connect(metadata) as connection:
            connection.execute("SELECT count(*) FROM dag")
    finally:
        server.stop()


def _filled(value: str, secrets: dict[str, str], port: int) -> str:
    filled = re.sub(r"\$\{(\w+):\?[^}]*\}", lambda found: secrets[found[1]], value)
    return filled.replace("@postgres/", f"@127.0.0.1:{port}/").replace("/var/lib/wayfare", str(Path.cwd() / "home"))
