"""Watches staging for new batches, however they landed.

It keeps no account of its own: after a start it announces the newest batch once, even if an earlier run saw it. An
announcement too many costs one `plan` that finds nothing; one too few would leave marts stale.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from wayfare.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

POLL_SECONDS = 2.0
MAX_QUIET_TIMES = 10
"""Landing that never pauses is announced after this many times the quiet time."""


@dataclass
class Debounce:
    """Decides when a new batch is announced: after `quiet` seconds without another, or `MAX_QUIET_TIMES` that long.

    >>> landing = Debounce(quiet=20)
    >>> [landing.due(1, now=0), landing.due(2, now=10), landing.due(2, now=29), landing.due(2, now=30)]
    [False, False, False, True]
    """

    quiet: float
    announced: int = 0
    newest: int = 0
    since: float = 0.0
    changed: float = 0.0

    def due(self, batch: int, *, now: float) -> bool:
        """Whether `batch`, the newest there is at `now` (seconds on a monotonic clock), is to be announced now."""
        if batch < self.newest:  # the database was restored to an earlier state
            self.announced = self.newest = 0
        if batch <= self.announced:
            return False
        if batch > self.newest:
            if self.newest <= self.announced:
                self.since = now
            self.newest, self.changed = batch, now
        if now - self.changed < self.quiet and now - self.since < self.quiet * MAX_QUIET_TIMES:
            return False
        self.announced = batch
        return True


class StagingTrigger(BaseEventTrigger):
    """Fires with `{"batch_id": n}` when batches up to `n` are staged and landing has paused for the debounce time.

    A PostgreSQL that does not answer is asked again, for as long as it takes.
    """

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class path; it has no arguments, so that no database password gets into Airflow's metadata."""
        return f"{__name__}.{type(self).__name__}", {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until cancelled."""
        debounce = Debounce(quiet=get_settings().debounce_seconds)
        async for batch in self._newest_batches():
            if debounce.due(batch, now=time.monotonic()):
                yield TriggerEvent({"batch_id": batch})  # type: ignore[no-untyped-call]  # Airflow leaves it untyped

    async def _newest_batches(self) -> AsyncIterator[int]:
        import psycopg

        from wayfare.staging.connections import arguments

        while True:
            try:
                place = arguments(get_settings().url("pipeline"))
                connecting = psycopg.AsyncConnection.connect(autocommit=True, **place)
                async with await connecting as connection:
                    while True:
                        cursor = await connection.execute("SELECT coalesce(max(batch_id), 0) FROM control.batch")
                        row = await cursor.fetchone()
                        yield int(row[0]) if row else 0
                        await asyncio.sleep(POLL_SECONDS)
            except (psycopg.OperationalError, psycopg.errors.UndefinedTable) as error:
                self.log.warning("staging cannot be watched, trying again: %s", error)
                await asyncio.sleep(POLL_SECONDS * 5)
