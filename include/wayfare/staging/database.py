"""Connections to PostgreSQL, and the schema: migrated and granted in one place."""

from __future__ import annotations

import functools
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from psycopg.errors import UndefinedColumn, UndefinedTable
from sqlalchemy import Engine, create_engine, event, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError, ProgrammingError

from wayfare.errors import ConfigurationError, ServiceError
from wayfare.staging.connections import SESSION, arguments
from wayfare.staging.tables import installation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from wayfare.settings import Settings

SCHEMAS = ("staging", "control", "marts", "bi")
NOT_MIGRATED = "the database does not fit this version of Wayfare; run `wayfare migrate` or `wayfare up`"
MIGRATION_LOCK = 0x5741594601

_ROLES = """
DO $$
DECLARE role text;
BEGIN
  FOREACH role IN ARRAY ARRAY['wayfare_landing', 'wayfare_pipeline', 'wayfare_bi'] LOOP
    BEGIN
      EXECUTE format('CREATE ROLE %I NOLOGIN', role);
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END;
  END LOOP;
END $$;
"""

_GRANTS = """
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA staging, control TO wayfare_landing, wayfare_pipeline;
GRANT SELECT ON ALL TABLES IN SCHEMA staging, control TO wayfare_landing, wayfare_pipeline;
GRANT INSERT ON ALL TABLES IN SCHEMA staging TO wayfare_landing;
GRANT UPDATE ON staging.rejection TO wayfare_landing;
GRANT INSERT ON control.batch, control.change TO wayfare_landing;
GRANT INSERT, UPDATE, DELETE ON control.quarantine, control.validation, control.publication, control.published_day
  TO wayfare_pipeline;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA staging TO wayfare_landing;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA control TO wayfare_pipeline;
GRANT USAGE, CREATE ON SCHEMA marts, bi TO wayfare_pipeline;
GRANT USAGE ON SCHEMA bi TO wayfare_bi;
"""


@functools.cache
def engine(url: str) -> Engine:
    """The pooled engine for a `postgresql://` URL; every session works in UTC."""
    made = create_engine(
        make_url(url).set(drivername="postgresql+psycopg"), pool_pre_ping=True, connect_args=arguments(url)
    )

    @event.listens_for(made, "connect")
    def _begin(connection: object, _record: object) -> None:
        connection.execute(SESSION)  # type: ignore[attr-defined]  # a psycopg connection
        connection.commit()  # type: ignore[attr-defined]

    return made


os.register_at_fork(after_in_child=engine.cache_clear)  # two processes must not talk over one socket


@contextmanager
def transaction(url: str) -> Iterator[Connection]:
    """A pooled connection in a transaction, committed at the end.

    Raises
    ------
    ConfigurationError
        The schema is not there, or older than the code.
    ServiceError
        PostgreSQL does not answer.
    """
    try:
        with engine(url).begin() as connection:
            yield connection
    except OperationalError as error:
        raise ServiceError(f"PostgreSQL does not answer: {error.orig}") from error
    except ProgrammingError as error:
        if not isinstance(error.orig, (UndefinedTable, UndefinedColumn)):
            raise
        raise ConfigurationError(f"{NOT_MIGRATED}: {error.orig}") from error


def migrate(settings: Settings) -> None:
    """Bring schemas, tables, roles and grants up to date, all or nothing; running it again changes nothing.

    Processes that migrate one database at a time wait for each other.

    Raises
    ------
    ConfigurationError
        The installation was created with another time zone, or migrated by a later version of Wayfare.
    DeclarationError
        A contract gained a required field without becoming a new major version.
    ServiceError
        PostgreSQL does not answer.
    """
    from wayfare.staging import migrations  # imported late: every room connects, few migrate

    with transaction(settings.url("owner")) as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        for schema in SCHEMAS:
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {schema}"))
        migrations.upgrade(connection)
        for follow in (migrations.additions, migrations.descriptions):
            for statement in follow(connection):
                connection.execute(statement)
        connection.execute(text(_ROLES))
        connection.execute(text(_GRANTS))
        _pin_zone(connection, settings.timezone)


def _pin_zone(connection: Connection, zone: str) -> None:
    pinned = connection.scalar(select(installation.c.timezone))
    if pinned is None:
        connection.execute(installation.insert().values(timezone=zone))
    elif pinned != zone:
        raise ConfigurationError(
            f"WAYFARE_TIMEZONE is {zone}, but this database was filled with days of {pinned}: "
            f"set WAYFARE_TIMEZONE={pinned}, or land into a new database"
        )
