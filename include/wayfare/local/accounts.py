"""Databases and accounts of PostgreSQL: created by `wayfare up` and by `wayfare migrate` alike."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from wayfare.errors import ConfigurationError, ServiceError
from wayfare.staging.connections import PREAMBLE, arguments
from wayfare.staging.locks import MIGRATION_LOCK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROLES = ("wayfare_landing", "wayfare_pipeline", "wayfare_bi", "airflow")
"""Roles that log in; the schema's migration creates all but Airflow's without a password."""

_READERS = 40
"""Connections of BI at a time, unless a limit was set before; the embedded server has 100 for everybody."""


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

    An owner that is not a superuser becomes a member of the roles that own tables, or it could not dump them.
    PostgreSQL is sent what it would keep of a password: it writes a statement that it refuses to its log.
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
