"""Advisory locks. Anybody who may log in can hold one, so the log says who does."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg2.errors

MIGRATION_LOCK = 0x5741594601
BATCH_LOCK = 0x5741594602
MART_LOCK, QUARANTINE_LOCK = 0x57415946, 0x57415947
"""With the hash of an analysis as the second key."""

LOCK_TIMEOUT = "30s"
"""How long to wait for a lock in silence; for a table that is to change, how long at all: others wait behind it."""

# Only a superuser sees when others' transactions began.
WHO_IS_CONNECTED = """
SELECT concat('pid ', pid, ' (account ', usename, ', application ', coalesce(nullif(application_name, ''), 'unnamed'),
  ', since ' || to_char(xact_start, 'YYYY-MM-DD HH24:MI:SS'), ')')
FROM pg_stat_activity
"""
"""A query of what tells a session from others; `WHERE` may follow."""

# Gives up a client that is lost while the server is sending to it. Not for every session: a client that only stops
# reading would be cut off, too.
_IF_LOST = "SET tcp_user_timeout = '60s'"

_log = logging.getLogger(__name__)

_HOLDERS = (
    WHO_IS_CONNECTED  # noqa: S608  # a text of ours
    + """
WHERE pid IN (
  SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND (classid, objid) = (%s, %s)
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""
)


def of_analysis(cursor: Any, lock: int, analysis: str) -> tuple[int, int]:
    """The two keys of an analysis's lock."""
    cursor.execute("SELECT hashtext(%s)", (analysis,))
    return lock, *cursor.fetchone()


def take(cursor: Any, *keys: int) -> None:
    """Take the advisory lock of one or two keys until the transaction ends, however long that takes.

    After `LOCK_TIMEOUT` the log says who has it.
    """
    lock = f"SELECT pg_advisory_xact_lock({', '.join(map(str, keys))})"
    try:
        _wait(
            cursor,
            f"{_IF_LOST}; SAVEPOINT waiting; SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'; {lock}; "
            "RELEASE waiting; SET LOCAL lock_timeout TO DEFAULT",
        )
    except psycopg2.errors.LockNotAvailable:
        cursor.execute("ROLLBACK TO waiting")
        high, low = divmod(keys[0], 2**32) if len(keys) == 1 else keys
        cursor.execute(_HOLDERS, (high, low % 2**32))
        found = ", ".join(session for (session,) in cursor.fetchall()) or "a session that has ended since"
        _log.warning(
            "still waiting after %s for a lock held by %s; if that session is not Wayfare's, end it, for instance "
            "with `SELECT pg_terminate_backend(pid)`",
            LOCK_TIMEOUT,
            found,
        )
        _wait(cursor, lock)


def _wait(cursor: Any, statement: str) -> None:
    """Execute a statement until a signal raises something here: psycopg2 handles none before it has the answer."""
    with ThreadPoolExecutor(1, "lock") as waiting:
        answer = waiting.submit(cursor.execute, statement)
        try:
            answer.result()
        finally:
            if not answer.done():
                cursor.connection.cancel()
