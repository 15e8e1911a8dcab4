"""How fresh every mart is, and what its gates said last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from wayfare.analyses import registry
from wayfare.marts import staleness
from wayfare.marts.fingerprint import fingerprint
from wayfare.staging.database import transaction

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from wayfare.analyses.api import BehaviorAnalysis
    from wayfare.settings import Settings

# The first batch the mart does not hold yet is the earliest of three: the first that touched an input day after a
# published day reading it was published, the first that went past one without events, and the first that made a day
# that is not published yet an output day. For folded batches the first of them is assumed.
_FRESHNESS = text(f"""{staleness.DAYS}, held AS (
  SELECT day, over_in, last_batch, through_batch, min(through_batch) OVER (
    ORDER BY day ROWS BETWEEN CAST(:after AS bigint) PRECEDING AND CAST(:before AS bigint) FOLLOWING
  ) AS batch_id, greatest(
    min(first_batch) OVER (ORDER BY day ROWS UNBOUNDED PRECEDING),
    min(first_batch) OVER (
      ORDER BY day DESC ROWS BETWEEN UNBOUNDED PRECEDING AND CAST(:ahead AS bigint) FOLLOWING
    )
  ) AS due_since
  FROM output
), touched_since AS (
  SELECT greatest(coalesce(change.first_batch_id, change.batch_id), held.batch_id + 1) AS batch_id
  FROM held CROSS JOIN unnest(CAST(:types AS text[])) AS read (event_type) CROSS JOIN LATERAL (
    SELECT batch_id, first_batch_id FROM control.change
    WHERE change.event_type = read.event_type AND event_on = held.day AND change.batch_id > held.batch_id
    ORDER BY change.batch_id LIMIT 1
  ) AS change
  WHERE last_batch > held.batch_id AND change.batch_id <= :through
)
SELECT (SELECT count(*) FROM state WHERE stale), coalesce(least(
  (SELECT min(batch_id) FROM touched_since),
  (SELECT min(over_in) FROM held WHERE over_in > batch_id),
  (SELECT min(due_since) FROM held WHERE through_batch IS NULL)
) - 1, CAST(:through AS bigint))
""")  # noqa: S608 - the interpolated text is a constant

_STANDING = text("""
SELECT coalesce(sum(rows), 0)::bigint AS rows, max(output_on) AS last_on FROM control.published_day
WHERE analysis = :analysis AND output_on = date_trunc(:every, output_on)::date AND to_regclass(:table) IS NOT NULL
""")
"""Of days that begin no period of the mart, the rows are in the table of another version."""

_LAST_PUBLICATION = text("""
SELECT publication_id, published_at, run_id FROM control.publication
WHERE publication_id = (SELECT max(publication_id) FROM control.published_day WHERE analysis = :analysis)
""")

_LAST_AUDIT = text("""
SELECT CASE WHEN bool_or(NOT success AND severity = 'critical') THEN 'failed'
  WHEN bool_or(NOT success AND severity = 'warning') THEN 'warned' ELSE 'passed' END AS verdict,
  max(judged_at) AS judged_at
FROM control.validation
WHERE analysis = :analysis AND gate = 'output' AND chunk = (
  SELECT chunk FROM control.validation WHERE analysis = :analysis AND gate = 'output'
  ORDER BY validation_id DESC LIMIT 1
)
HAVING count(*) > 0
""")


def status(settings: Settings) -> list[dict[str, object]]:
    """One dict per analysis, in alphabetical order.

    `analysis`; `rows` of the mart; `last_on`, its last output day; `latest_batch`; `fresh_through`, the last batch
    that every output day takes account of; `stale_days`; `publication_id`, `published_at` and `run_id` of the last
    publication; `audit` ("passed", "warned", "failed") and `audited_at`. None where there is nothing yet.

    Raises
    ------
    ServiceError
        PostgreSQL does not answer.
    """
    with transaction(settings.url("pipeline")) as connection:
        latest = staleness.latest_batch(connection)
        return [_status(settings, connection, found, latest) for found in registry.analyses().values()]


def _status(settings: Settings, connection: Connection, found: BehaviorAnalysis, latest: int) -> dict[str, object]:
    named = {"analysis": found.name}
    published = connection.execute(_LAST_PUBLICATION, named).one_or_none()
    audit = connection.execute(_LAST_AUDIT, named).one_or_none()
    parameters = staleness.parameters(found, latest, fingerprint(settings, found))
    standing = connection.execute(_STANDING, parameters).one()
    stale_days, fresh_through = connection.execute(_FRESHNESS, parameters).one()
    return {
        **named,
        "rows": standing.rows,
        "last_on": standing.last_on,
        "latest_batch": latest,
        "fresh_through": fresh_through,
        "stale_days": stale_days,
        "publication_id": published.publication_id if published else None,
        "published_at": published.published_at if published else None,
        "run_id": published.run_id if published else None,
        "audit": audit.verdict if audit else None,
        "audited_at": audit.judged_at if audit else None,
    }
