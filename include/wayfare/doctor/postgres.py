"""The database: reachable, of the right version, migrated, in the right zone and time, with room on its disk."""

from __future__ import annotations

import datetime as dt
import shutil
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from wayfare.analyses import registry
from wayfare.doctor import roles
from wayfare.doctor.findings import LOW_DISK, Finding, failed, gigabytes, info, ok
from wayfare.errors import DeclarationError
from wayfare.staging import database, migrations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from wayfare.settings import Settings

TESTED = 18
"""The major version of PostgreSQL that Wayfare is tested on."""
MOST_SKEW = dt.timedelta(seconds=5)
_TIMEOUT = "5"
_MIGRATE = "run `wayfare migrate` (`wayfare up` does it by itself)"


def examine(settings: Settings) -> Iterator[Finding]:
    """Findings about the server, the schema and the roles; one only, where the server does not answer."""
    configured = (settings.database_url, settings.pipeline_url, settings.landing_url)
    url = next((secret.get_secret_value() for secret in configured if secret), None)
    if url is None:
        yield failed("database", "no database is configured", "run `wayfare up`, or set WAYFARE_DATABASE_URL")
        return
    server = make_url(url)
    place = f"{server.host or 'the local socket'}:{server.port or 5432}/{server.database}"
    patient = server.update_query_dict({"connect_timeout": _TIMEOUT}).render_as_string(hide_password=False)
    try:
        engine = database.engine(patient).execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            yield ok("database", f"answers at {place} as {server.username}")
            yield from _of_the_server(connection, settings)
    except SQLAlchemyError as error:
        fix = "start it (`wayfare up` starts the embedded one), or correct the URL (WAYFARE_DATABASE_URL)"
        yield failed("database", f"{place}: {roles.first_line(error)}", fix)
    finally:
        database.engine(patient).dispose()


def _of_the_server(connection: Connection, settings: Settings) -> Iterator[Finding]:
    yield _version(connection)
    yield _disk(connection)
    yield _clock(connection)
    schema = _schema(connection)
    yield schema
    if migrations.revision(connection) is not None:
        yield _zone(connection, settings)
        yield from roles.examine(connection, settings)
        yield from _without_analysis(connection)
        yield from _left_out(connection)


def _version(connection: Connection) -> Finding:
    number = int(connection.scalar(text("SHOW server_version_num")) or 0)
    found = f"PostgreSQL {number // 10_000}.{number % 10_000}"
    if number // 10_000 < TESTED:
        return failed("database.version", found, f"upgrade the server to PostgreSQL {TESTED}, or later")
    return ok("database.version", found)


def _disk(connection: Connection) -> Finding:
    size = gigabytes(connection.scalar(text("SELECT pg_database_size(current_database())")) or 0)
    folder = connection.scalar(text("SELECT setting FROM pg_settings WHERE name = 'data_directory'"))
    try:
        free = shutil.disk_usage(folder or "").free
    except OSError:
        return info("database.disk", f"the database has {size}; its disk cannot be seen from this account")
    if free < LOW_DISK:
        fix = f"free {gigabytes(LOW_DISK)} on the disk of {folder}, or move the database to a larger one"
        return failed("database.disk", f"{gigabytes(free)} are free, the database has {size}", fix)
    return ok("database.disk", f"the database has {size}, {gigabytes(free)} are free")


def _clock(connection: Connection) -> Finding:
    before = dt.datetime.now(dt.UTC)
    there = connection.scalar(text("SELECT clock_timestamp()")) or before
    after = dt.datetime.now(dt.UTC)
    ahead = max(there - after, before - there, dt.timedelta())
    if ahead > MOST_SKEW:
        fix = "set both clocks by a time server (chrony or systemd-timesyncd): events and publications carry their time"
        return failed("clock", f"PostgreSQL's clock and this machine's are {ahead.total_seconds():,.0f} s apart", fix)
    return ok("clock", "PostgreSQL's clock and this machine's agree")


def _schema(connection: Connection) -> Finding:
    at, head = migrations.revision(connection), migrations.head()
    if at is None:
        return failed("database.schema", "Wayfare's schema is missing", _MIGRATE)
    if at not in migrations.known():
        return failed("database.schema", f"it is at revision {at}, later than this version's {head}", "upgrade Wayfare")
    if at != head:
        return failed("database.schema", f"it is at revision {at}; this version of Wayfare wants {head}", _MIGRATE)
    try:
        lacking = len(migrations.additions(connection))
    except DeclarationError as error:
        return failed("database.schema", str(error), "change the contract as it says")
    if lacking:
        return failed("database.schema", f"staging lacks {lacking} columns or tables that contracts gained", _MIGRATE)
    return ok("database.schema", f"it is at revision {at}, the latest")


def _zone(connection: Connection, settings: Settings) -> Finding:
    pinned = connection.scalar(text("SELECT timezone FROM control.installation"))
    if pinned == settings.timezone:
        return ok("database.timezone", f"days begin by {pinned}")
    fix = f"set WAYFARE_TIMEZONE={pinned}, or land into a new database"
    found = f"the database holds days of {pinned}, but WAYFARE_TIMEZONE is {settings.timezone}"
    return failed("database.timezone", found, fix)


def _without_analysis(connection: Connection) -> Iterator[Finding]:
    """Marts that are published no more, whose views stay as they are; what cannot be imported is reported as that."""
    published = connection.scalars(text("SELECT DISTINCT analysis FROM control.published_day ORDER BY 1"))
    if not registry.broken() and (gone := [name for name in published if name not in registry.analyses()]):
        fix = (
            "install the package that had it (`make setup` removes what is not in the lock); if it is retired, drop "
            "its mart and delete its rows of control.published_day"
        )
        yield failed("analyses", f"published before and not found now: {', '.join(gone)}", fix)


def _left_out(connection: Connection) -> Iterator[Finding]:
    """What waits for somebody's decision: it keeps no analysis from running."""
    open_ = "SELECT reason, count(*) FROM staging.rejection WHERE resolved_batch_id IS NULL GROUP BY 1 ORDER BY 2 DESC"
    quarantined = "SELECT analysis, count(DISTINCT event_id) FROM control.quarantine GROUP BY 1 ORDER BY 2 DESC"
    yield info("rejections", _counted(connection, open_, "none is open", "list them: `wayfare rejections`"))
    yield info("quarantine", _counted(connection, quarantined, "no event is left out", "see control.quarantine"))


def _counted(connection: Connection, query: str, nothing: str, hint: str) -> str:
    rows = connection.execute(text(query)).all()
    return ", ".join(f"{name} {count:,}" for name, count in rows) + f" ({hint})" if rows else nothing
