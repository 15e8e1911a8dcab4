"""Databases and accounts: created by the embedded stack and by `wayfare migrate` alike."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from wayfare.errors import ConfigurationError, ServiceError
from wayfare.settings import PROJECT
from wayfare.staging.connections import PREAMBLE, arguments
from wayfare.staging.locks import MIGRATION_LOCK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


ROLES = ("wayfare_landing", "wayfare_pipeline", "wayfare_bi", "airflow")
"""Roles that log in; the schema's migration creates all but Airflow's without a password."""

_READERS = 40
"""Connections of BI at a time, unless a limit was set before; the embedded server has 100 for everybody."""

_METADATA = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"


@contextlib.contextmanager
def _administering(url: str) -> Iterator[psycopg.Connection]:
    """A connection of its own, on which processes that administer the same database wait for each other.

    Raises
    ------
    ConfigurationError
        The account of `url` may not do that.
    ServiceError
        PostgreSQL does not answer.
    """
    try:
        connection = psycopg.connect(autocommit=True, **arguments(url))
    except psycopg.Error as error:
        raise ServiceError(f"PostgreSQL does not answer: {error}") from error
    with connection:
        connection.execute(PREAMBLE)
        connection.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
        try:
            yield connection
        except psycopg.errors.InsufficientPrivilege as error:
            found = f"account {connection.info.user} of WAYFARE_DATABASE_URL: {' '.join(str(error).split())}"
            raise ConfigurationError(
                f"{found}; make it a superuser, or let it create databases and roles (CREATEDB, CREATEROLE) and change "
                "the roles that somebody else made (GRANT ... WITH ADMIN OPTION)"
            ) from error


def _on_database(url: str, database: str) -> str:
    """The same server and account, another database."""
    return make_url(url).set(database=database).render_as_string(hide_password=False)


def create_databases(url: str) -> None:
    """Create the databases `wayfare` and `airflow` where the server of `url` lacks them."""
    with _administering(_on_database(url, "postgres")) as connection:
        existing = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
        for name in sorted({"wayfare", "airflow"} - existing):
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def set_passwords(url: str, passwords: Mapping[str, str]) -> None:
    """Let each role of `passwords` log in with its password, and give the database `airflow` to role `airflow` alone.

    An owner that is no superuser becomes a member of the roles that own tables, or it could not dump them.
    PostgreSQL is sent what it would keep of a password: a statement that it refuses it writes to its log.
    """
    with _administering(_on_database(url, "airflow")) as connection:
        roles = dict(connection.execute("SELECT rolname, rolconnlimit FROM pg_roles").fetchall())
        for role, password in passwords.items():
            verb = "ALTER ROLE {} LOGIN PASSWORD {}" if role in roles else "CREATE ROLE {} LOGIN PASSWORD {}"
            kept = connection.pgconn.encrypt_password(password.encode(), role.encode()).decode()
            connection.execute(sql.SQL(verb).format(sql.Identifier(role), sql.Literal(kept)))
        if not connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = CURRENT_USER").fetchall()[0][0]:
            connection.execute("GRANT airflow, wayfare_pipeline TO CURRENT_USER WITH INHERIT TRUE, SET TRUE")
        if roles.get("wayfare_bi", -1) == -1:  # none; whoever set one keeps it
            connection.execute(f"ALTER ROLE wayfare_bi CONNECTION LIMIT {_READERS}")
        connection.execute("ALTER DATABASE airflow OWNER TO airflow")
        connection.execute("REVOKE CONNECT ON DATABASE airflow FROM PUBLIC")
        connection.execute("ALTER SCHEMA public OWNER TO airflow")


def require_metadata(environment: Mapping[str, str]) -> None:
    """See that Airflow is told where its metadata is, rather than falling back on a file of its own.

    Raises
    ------
    ConfigurationError
        It is not.
    """
    given = [environment.get(f"{_METADATA}{suffix}", "") for suffix in ("", "_CMD", "_SECRET")]
    if not any(given) or given[0].startswith("sqlite"):
        raise ConfigurationError(
            f"set {_METADATA} to postgresql+psycopg2://airflow:PASSWORD@HOST:PORT/airflow, with the password of "
            "AIRFLOW_PASSWORD: Airflow would else keep its metadata in a file of SQLite, of which its other processes "
            "know nothing"
        )


def migrate_airflow(environment: Mapping[str, str], log: Path) -> None:
    """Bring Airflow's metadata to its version.

    Raises
    ------
    ServiceError
        It failed; the message names the log.
    """
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


def write_accounts(environment: Mapping[str, str]) -> None:
    """Create or update the UI's accounts under the FAB auth manager; passwords are in the environment.

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
        raise ServiceError(f"Airflow's accounts could not be written: {done.stderr[-2000:]}")


def write_login(airflow_home: Path, password: str) -> None:
    """Write the password of the UI's user `admin` where Airflow's simple auth manager reads it, for its owner alone."""
    airflow_home.mkdir(parents=True, exist_ok=True)
    file = airflow_home / "passwords.json"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        json.dump({"admin": password}, out)
