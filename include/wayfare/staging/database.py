"""Connections to PostgreSQL, and the schema: migrated and granted in one place."""

from __future__ import annotations

import functools
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from psycopg import errors
from sqlalchemy import Engine, create_engine, event, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import InternalError, OperationalError, ProgrammingError

from wayfare.errors import ConfigurationError, ServiceError, ZoneError
from wayfare.staging import locks
from wayfare.staging.connections import PREAMBLE, arguments
from wayfare.staging.tables import installation, metadata

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from wayfare.settings import Settings

SCHEMAS = ("staging", "control", "marts", "bi")
REVISION = "0010"
"""The head of `wayfare.staging.migrations`, known without Alembic: landing asks in each batch."""

AT_REVISION = "SELECT max(version_num) FROM control.alembic_version"
"""A query of the revision that the database is at; no migration begins until the transaction that asked has ended."""

NOT_MIGRATED = "the database does not fit this version of Wayfare; run `wayfare migrate` or `wayfare up`"

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

RENEWED = ("batch_id", "event_id", "event_type", "field", "message", "reason", "resolved_batch_id")
"""Columns of `staging.rejection` that landing may change, by name: never what was refused, and of which source."""

_GRANTS = """
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA staging, control TO wayfare_landing, wayfare_pipeline;
GRANT SELECT ON ALL TABLES IN SCHEMA staging, control TO wayfare_landing, wayfare_pipeline;
REVOKE SELECT ON control.producer FROM wayfare_pipeline;
GRANT INSERT ON ALL TABLES IN SCHEMA staging TO wayfare_landing;
GRANT INSERT ON control.batch, control.change TO wayfare_landing;
GRANT INSERT, UPDATE, DELETE ON control.quarantine, control.validation, control.publication, control.published_day
  TO wayfare_pipeline;
GRANT INSERT, DELETE ON control.change TO wayfare_pipeline;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA staging TO wayfare_landing;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA control TO wayfare_pipeline;
GRANT USAGE, CREATE ON SCHEMA marts, bi TO wayfare_pipeline;
GRANT USAGE ON SCHEMA bi TO wayfare_bi;
DO $$
BEGIN
  EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
  EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO wayfare_landing, wayfare_pipeline', current_database());
  IF ARRAY(
    SELECT attname::text FROM pg_attribute WHERE attrelid = 'staging.rejection'::regclass AND attnum > 0
      AND NOT attisdropped AND has_column_privilege('wayfare_landing', attrelid, attnum, 'UPDATE') ORDER BY attname
  ) <> string_to_array('{renewed}', ', ') THEN
    REVOKE UPDATE ON staging.rejection FROM wayfare_landing;
    GRANT UPDATE ({renewed}) ON staging.rejection TO wayfare_landing;
  END IF;
END $$;
""".format(renewed=", ".join(RENEWED))  # noqa: S608  # of names above

# Whoever kept us waiting began before us.
_IN_THE_WAY = text(
    locks.WHO_IS_CONNECTED  # noqa: S608  # a text of ours
    + """
WHERE datname = current_database() AND pid <> pg_backend_pid()
  AND (xact_start < clock_timestamp() - CAST(:timeout AS interval)) IS NOT FALSE
  AND pid IN (
    SELECT l.pid FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
    WHERE l.granted AND c.relnamespace::regnamespace::text = ANY(:schemas))
ORDER BY xact_start
"""
)


@functools.cache
def engine(url: str) -> Engine:
    """The pooled engine for a `postgresql://` URL; every session works in UTC."""
    made = create_engine(
        make_url(url).set(drivername="postgresql+psycopg"), pool_pre_ping=True, connect_args=arguments(url)
    )

    @event.listens_for(made, "connect")
    def _begin(connection: object, _record: object) -> None:
        connection.execute(PREAMBLE)  # type: ignore[attr-defined]  # a psycopg connection
        connection.commit()  # type: ignore[attr-defined]

    return made


os.register_at_fork(after_in_child=engine.cache_clear)  # two processes must not talk over one socket


@contextmanager
def transaction(url: str) -> Iterator[Connection]:
    """A pooled connection in a transaction, committed at the end.

    Raises
    ------
    ConfigurationError
        The schema is not there, or older than the code, or the account lacks a right.
    ServiceError
        PostgreSQL does not answer, or takes no changes.
    """
    try:
        with engine(url).begin() as connection:
            yield connection
    except OperationalError as error:
        raise ServiceError(f"PostgreSQL does not answer: {error.orig}") from error
    except (ProgrammingError, InternalError) as error:
        if isinstance(error.orig, (errors.UndefinedTable, errors.UndefinedColumn)):
            raise ConfigurationError(f"{NOT_MIGRATED}: {error.orig}") from error
        if isinstance(error.orig, errors.InsufficientPrivilege):
            found = f"PostgreSQL refuses account {engine(url).url.username}: {error.orig}"
            raise ConfigurationError(
                f"{found}; only the owner of the database, or a superuser, may migrate and add producers, and `wayfare "
                "doctor` says what another role lacks"
            ) from error
        if isinstance(error.orig, errors.ReadOnlySqlTransaction):
            raise ServiceError(f"PostgreSQL takes no changes: {error.orig}") from error
        raise


def check(url: str, zone: str) -> None:
    """See that the schema is the one that landing works with, and that its days would be of their zone.

    Raises
    ------
    ConfigurationError
        The schema is not there, or not of the code's revision, or the account lacks a right.
    ServiceError
        PostgreSQL does not answer.
    ZoneError
        The database was filled with days of another zone.
    """
    with transaction(url) as connection:
        check_revision(connection.scalar(text(AT_REVISION)))
        for table in metadata.sorted_tables:
            connection.execute(select(table).limit(0))
        check_zone(connection, zone)


def check_revision(at: str | None) -> None:
    """See that the database, which is at this revision, is one that this version works with.

    Raises
    ------
    ConfigurationError
        It was migrated by a later version, or not yet by this one.
    """
    if at is None or at < REVISION:
        raise ConfigurationError(f"{NOT_MIGRATED}: it is at schema revision {at}, not {REVISION}")
    if at > REVISION:
        raise ConfigurationError(
            f"a later version of Wayfare has migrated the database to schema revision {at}, and this one works with "
            f"{REVISION}: install that version here and start this again"
        )


def check_zone(connection: Connection, zone: str) -> None:
    """See that the database was filled with days of this zone: days of two cannot be told apart.

    Raises
    ------
    ZoneError
        It was not.
    """
    pinned = connection.scalar(select(installation.c.timezone))
    if pinned != zone:
        raise ZoneError(
            f"WAYFARE_TIMEZONE is {zone}, but this database was filled with days of {pinned}: "
            f"set WAYFARE_TIMEZONE={pinned}, or land into a new database"
        )


def migrate(settings: Settings) -> None:
    """Bring schemas, tables, roles and grants up to date, all or nothing; running it again changes nothing.

    Processes that migrate one database at a time wait for each other. For transactions that hold a table it waits as
    long as `LOCK_TIMEOUT`.

    Raises
    ------
    ConfigurationError
        The database was migrated by a later version of Wayfare or is not in UTF-8, or the account is not the owner.
    DeclarationError
        A contract gained a required field without becoming a new major version.
    ServiceError
        PostgreSQL does not answer, or somebody's transaction stays open, which it names, or waited for this one.
    ZoneError
        The installation was created with another time zone.
    """
    with transaction(settings.url("owner")) as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": locks.MIGRATION_LOCK})
        connection.execute(text(f"SET LOCAL lock_timeout = '{locks.LOCK_TIMEOUT}'"))
        try:
            with connection.begin_nested():
                _bring_up_to_date(connection, settings)
        except OperationalError as error:
            if isinstance(error.orig, errors.DeadlockDetected):
                raise ServiceError(
                    "nothing was migrated: migrating and a transaction that began meanwhile waited for each other; "
                    "migrate again"
                ) from error
            if not isinstance(error.orig, errors.LockNotAvailable):
                raise
            sought = {"timeout": locks.LOCK_TIMEOUT, "schemas": list(SCHEMAS)}
            found = ", ".join(connection.scalars(_IN_THE_WAY, sought)) or "a session that has ended since"
            raise ServiceError(
                f"nothing was migrated: a table has been in use for {locks.LOCK_TIMEOUT} by {found}; end that session, "
                "for instance with `SELECT pg_terminate_backend(pid)`, then migrate again"
            ) from error


def _bring_up_to_date(connection: Connection, settings: Settings) -> None:
    from wayfare.staging import migrations  # imported late: every package connects, few migrate

    encoding = connection.scalar(text("SHOW server_encoding"))
    if encoding != "UTF8":
        raise ConfigurationError(
            f"the database is in {encoding}, which does not hold every text; make one with "
            "`CREATE DATABASE ... ENCODING 'UTF8' LOCALE 'C.UTF-8' TEMPLATE template0`"
        )
    for schema in SCHEMAS:
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {schema}"))
    migrations.upgrade(connection)
    for follow in (migrations.additions, migrations.descriptions):
        for statement in follow(connection):
            connection.execute(statement)
    connection.execute(text(_ROLES))
    connection.execute(text(_GRANTS))
    if connection.scalar(select(installation.c.timezone)) is None:
        connection.execute(installation.insert().values(timezone=settings.timezone))
    check_zone(connection, settings.timezone)
