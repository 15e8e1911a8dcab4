"""Databases and accounts, made by several machines at once."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING

import psycopg
import pytest

from wayfare.errors import ConfigurationError
from wayfare.local import accounts, postgres
from wayfare.settings import Settings
from wayfare.staging import database

if TYPE_CHECKING:
    from wayfare.local.postgres import EmbeddedPostgres

MACHINES = 6
PASSWORDS = dict.fromkeys(accounts.ROLES, "secret-of-this-test")


def test_several_machines_make_them_at_once() -> None:
    with postgres.temporary_server() as server, ThreadPoolExecutor(MACHINES) as machines:
        together = Barrier(MACHINES)

        def make() -> None:
            together.wait()
            accounts.create_databases(server.url())
            together.wait()
            accounts.set_passwords(server.url(), PASSWORDS)

        for made in [machines.submit(make) for _ in range(MACHINES)]:
            try:
                made.result()
            except BaseException:
                together.abort()
                raise
        with psycopg.connect(server.url("airflow", "airflow", PASSWORDS["airflow"])) as connection:
            assert connection.execute("SELECT current_user").fetchone() == ("airflow",)


def test_an_owner_need_not_be_a_superuser() -> None:
    with postgres.temporary_server() as server:
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute("CREATE ROLE agency LOGIN PASSWORD 'x' CREATEDB CREATEROLE")
            connection.execute("CREATE ROLE nobody LOGIN PASSWORD 'x'")
        owner = server.url("wayfare", "agency", "x")
        for _ in range(2):
            accounts.create_databases(owner)
            database.migrate(Settings(home=server.data.parent, database_url=owner))
            accounts.set_passwords(owner, PASSWORDS)
        for role, name in (("airflow", "airflow"), ("wayfare_landing", "wayfare")):
            with psycopg.connect(server.url(name, role, PASSWORDS[role])) as connection:
                assert connection.execute("SELECT current_user").fetchone() == (role,)
        with psycopg.connect(server.url("airflow", "airflow", PASSWORDS["airflow"])) as connection:
            connection.execute("CREATE TABLE metadata ()")
        with pytest.raises(psycopg.OperationalError, match='permission denied for database "airflow"'):
            psycopg.connect(server.url("airflow", "wayfare_bi", PASSWORDS["wayfare_bi"]))
        _the_limit_of_bi_stays(server, owner)
        with psycopg.connect(server.url("wayfare", "wayfare_pipeline", PASSWORDS["wayfare_pipeline"])) as connection:
            connection.execute("CREATE TABLE marts.sales ()")
        for url in (owner, server.url("airflow", "agency", "x")):
            dump = [postgres._binaries() / "pg_dump", "--format=custom", f"--file={server.data.parent / 'dump'}", url]
            subprocess.run(dump, check=True)
        with psycopg.connect(server.url("airflow"), autocommit=True) as connection:
            connection.execute("GRANT CONNECT ON DATABASE airflow TO nobody")
        other = server.url("wayfare", "nobody", "x")
        with pytest.raises(ConfigurationError, match=r"account nobody of WAYFARE_DATABASE_URL: .*CREATEROLE.*ADMIN"):
            accounts.set_passwords(other, PASSWORDS)
        assert PASSWORDS["airflow"] not in (server.data / "log").read_text()
        with pytest.raises(ConfigurationError, match=r"refuses account nobody: permission denied .* the owner"):
            database.migrate(Settings(home=server.data.parent, database_url=other))
        for url in (owner, other):
            database.engine(url).dispose()


def _the_limit_of_bi_stays(server: EmbeddedPostgres, owner: str) -> None:
    """Whoever chose another one need not choose it again after an upgrade."""
    limit = "SELECT rolconnlimit FROM pg_roles WHERE rolname = 'wayfare_bi'"
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        assert connection.execute(limit).fetchone() == (accounts._READERS,)
        connection.execute("ALTER ROLE wayfare_bi CONNECTION LIMIT 7")
        accounts.set_passwords(owner, PASSWORDS)
        assert connection.execute(limit).fetchone() == (7,)
