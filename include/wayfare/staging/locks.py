"""Advisory locks, for which anybody who logs in may make others wait: who does is told."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg2.errors

from wayfare.staging.database import SESSIONS

PATIENCE = "30s"
"""How long is waited before it is told."""

# The server then gives up a lost client that it answers, too; of others, it would end who only stops reading.
_IF_LOST = "SET tcp_user_timeout = '60s'"

_log = logging.getLogger(__name__)

_HOLDERS = (
    SESSIONS  # noqa: S608  # a text of ours
    + """
WHERE pid IN (
  SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND (classid, objid) = (%s, %s)
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""
)


def take(cursor: Any, *keys: int) -> None:
    """Take the advisory lock of one or two keys until the transaction ends, however long that takes.

    The log says who has it, once it was waited for as long as `PATIENCE`.
    """
    lock = f"SELECT pg_advisory_xact_lock({', '.join(map(str, keys))})"
    try:
        _wait(
            cursor,
            f"{_IF_LOST}; SAVEPOINT waiting; SET LOCAL lock_timeout = '{PATIENCE}'; {lock}; "
            "RELEASE waiting; SET LOCAL lock_timeout TO DEFAULT",
        )
    except psycopg2.errors.LockNotAvailable:
        cursor.execute("ROLLBACK TO waiting")
        high, low = divmod(keys[0], 2**32) if len(keys) == 1 else keys
        cursor.execute(_HOLDERS, (high, low % 2**32))
        found = ", ".join(session for (session,) in cursor.fetchall()) or "somebody who has ended meanwhile"
        _log.warning(
            "after %s still waiting for a lock of %s; where that is none of Wayfare's, end it, or have "
            "`SELECT pg_terminate_backend(pid)` end it",
            PATIENCE,
            found,
        )
        _wait(cursor, lock)


def _wait(cursor: Any, statement: str) -> None:
    """Execute a statement until a signal raises something here: in psycopg2 a thread hears none before its answer."""
    with ThreadPoolExecutor(1, "lock") as waiting:
        answer = waiting.submit(cursor.execute, statement)
        try:
            answer.result()
        finally:
            if not answer.done():
                cursor.connection.cancel()
