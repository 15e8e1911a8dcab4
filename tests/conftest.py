"""Fixtures every test may use: a real PostgreSQL for the session, a database of its own for each test."""

from __future__ import annotations

import os
import secrets
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

import brokers
import stores
from wayfare.local import postgres as local
from wayfare.settings import Settings, get_settings
from wayfare.staging import database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from e2e.installation import Installation
    from wayfare.local.postgres import EmbeddedPostgres

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    return local.free_port()


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL 18 server with a migrated database `template_wayfare`."""
    with local.temporary_server() as server:
        _administer(server, "ALTER SYSTEM SET fsync = off")
        _administer(server, "SELECT pg_reload_conf()")
        _administer(server, "CREATE DATABASE template_wayfare")
        database.migrate(Settings(database_url=server.url("template_wayfare"), home=server.data.parent / "home"))
        database.engine(server.url("template_wayfare")).dispose()
        yield server


def _administer(server: EmbeddedPostgres, *statements: str) -> None:
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


@contextmanager
def _installation(postgres: EmbeddedPostgres, home: Path) -> Iterator[Settings]:
    name = f"t_{secrets.token_hex(6)}"
    _administer(
        postgres,
        f"CREATE DATABASE {name} TEMPLATE template_wayfare STRATEGY file_copy",
        f"REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC",  # as in the template: what is granted on it is not copied
        f"GRANT TEMPORARY ON DATABASE {name} TO wayfare_landing, wayfare_pipeline",
    )
    with pytest.MonkeyPatch.context() as patch:
        for variable in [v for v in os.environ if v.startswith("WAYFARE_")]:
            patch.delenv(variable)
        patch.setenv("WAYFARE_HOME", str(home))
        patch.setenv("WAYFARE_DATABASE_URL", postgres.url(name))
        get_settings.cache_clear()
        try:
            yield get_settings()
        finally:
            get_settings.cache_clear()
            database.engine(postgres.url(name)).dispose()
            _administer(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def settings(postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[Settings]:
    """Settings of a fresh installation: an empty migrated database and a home folder of its own."""
    with _installation(postgres, tmp_path / "home") as made:
        yield made


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """URL of a bucket on an S3 of the session's own, which the environment tells of."""
    with stores.s3_server() as address, pytest.MonkeyPatch.context() as patch:
        for variable, value in {**stores.ENVIRONMENT, "AWS_ENDPOINT_URL_S3": address}.items():
            patch.setenv(variable, value)
        yield "s3://wayfare"


@pytest.fixture(params=["disk", "s3"])
def anywhere(request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a fresh installation, once with its storage on disk and once in an object store."""
    if request.param == "disk":
        return settings
    monkeypatch.setenv("WAYFARE_STORAGE_URL", f"{request.getfixturevalue('s3')}/{secrets.token_hex(6)}")
    get_settings.cache_clear()
    return get_settings()


@pytest.fixture(scope="session")
def fresh_installation(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], AbstractContextManager[Settings]]:
    """For a test that needs several installations: makes one, which ends with the block."""
    return lambda: _installation(postgres, tmp_path_factory.mktemp("installation"))


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[brokers.Broker]:
    """A RabbitMQ of the session's own."""
    made = brokers.rabbitmq(
        tmp_path_factory.mktemp("rabbitmq"), local.free_port(), local.free_port(), local.free_port()
    )
    with brokers.running(made):
        yield made


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[brokers.Broker]:
    """A Redis of the session's own, which writes every command to disk before it answers."""
    made = brokers.redis(tmp_path_factory.mktemp("redis"), local.free_port())
    with brokers.running(made):
        yield made


@pytest.fixture(scope="session")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The installation of `wayfare up`, into which four days were landed; the scheduler is at work on them."""
    from e2e import installation

    with installation.running(tmp_path_factory.mktemp("up") / "home") as made:
        made.land_days()
        yield made


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real and hostile inputs; required in CI, skipped by name elsewhere."""
    if not SHARED_DATA.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"{SHARED_DATA} is missing: CI must lay the shared data beside the project")
        pytest.skip(f"needs the shared data in {SHARED_DATA}")
    return SHARED_DATA
