"""Folding the change log: what many batches did to a day becomes one row, once no run needs to tell them apart.

Landing from a queue makes a batch every second or so, and each plan, status and chunk asks the whole log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from wayfare.staging.database import transaction

if TYPE_CHECKING:
    import datetime as dt

_FOLD = text("""
WITH several AS (
  SELECT event_type, event_on FROM control.change WHERE batch_id <= :through
  GROUP BY event_type, event_on HAVING count(*) > 1
), folded AS (
  DELETE FROM control.change USING several
  WHERE change.event_type = several.event_type AND change.event_on = several.event_on AND batch_id <= :through
  RETURNING change.*
), kept AS (
  INSERT INTO control.change (event_type, event_on, batch_id, rows, first_batch_id)
  SELECT event_type, event_on, max(batch_id), sum(rows), min(coalesce(first_batch_id, batch_id))
  FROM folded GROUP BY event_type, event_on RETURNING 1
)
SELECT (SELECT count(*) FROM folded) - (SELECT count(*) FROM kept)
""")

# The last old batch before the first that is not: a batch that waited long for PostgreSQL, or whose lander's clock is
# behind, has an older instant than those before it. One dated in the future tells nothing: its lander's clock is wrong.
_LAST_BEFORE = text("""
SELECT max(batch_id) FROM control.batch WHERE landed_at < :before AND batch_id < ALL (
  SELECT min(batch_id) FROM control.batch WHERE landed_at BETWEEN :before AND now() HAVING count(*) > 0
)
""")


def fold(url: str, before: dt.datetime) -> int:
    """Make one row of those that batches landed before an instant left for a day of a type; returns how many are less.

    A chunk that was planned through one of these batches can no longer tell what the day was then: its steps refuse it
    (`snapshots.day_files`).

    Raises
    ------
    ServiceError
        PostgreSQL does not answer.
    """
    with transaction(url) as connection:
        through = connection.scalar(_LAST_BEFORE, {"before": before})
        return int(connection.scalar(_FOLD, {"through": through or 0}) or 0)
