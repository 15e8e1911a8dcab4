"""Rejections of a batch: refused lines are kept, and those of a replay resolved or renewed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from wayfare.staging import bulk
from wayfare.staging.incoming import MAX_LINE

if TYPE_CHECKING:
    from wayfare.staging.incoming import Incoming, Rejection
    from wayfare.staging.sealing import Seal

TEMPORARY = (
    "CREATE TEMP TABLE IF NOT EXISTS replayed (rejection_id bigint) ON COMMIT DELETE ROWS",
    (
        "CREATE TEMP TABLE IF NOT EXISTS refused (line bigint, event_type text, event_id text, reason text, field text,"
        " message text, raw bytea, raw_digest uuid) ON COMMIT DELETE ROWS"
    ),
)
"""Tables that `keep` and `resolve` want in their session."""

_AT_ONCE = 32 << 20
_LEAST_ROW = 1 << 10
"""Bytes of rejections that are in memory at once, and of one beside its header, which each has a copy of."""

_REJECT = """
WITH kept AS (
  INSERT INTO staging.rejection
    (batch_id, source, format, header, line, event_type, event_id, reason, field, message, raw, raw_digest, sealed)
  SELECT DISTINCT ON (line, raw_digest) %s, %s, %s, %s,
    line, event_type, event_id, reason, field, message, raw, raw_digest, %s
  FROM refused ORDER BY line, raw_digest, ctid
  ON CONFLICT (source, line, raw_digest) DO UPDATE
  SET batch_id = CASE WHEN rejection.resolved_batch_id IS NULL THEN rejection.batch_id ELSE excluded.batch_id END,
    event_type = excluded.event_type, event_id = excluded.event_id,
    reason = excluded.reason, field = excluded.field, message = excluded.message, resolved_batch_id = NULL
  WHERE rejection.resolved_batch_id IS NOT NULL
    OR (rejection.reason, rejection.field, rejection.message)
      IS DISTINCT FROM (excluded.reason, excluded.field, excluded.message)
  RETURNING batch_id
)
SELECT count(*) FROM kept WHERE batch_id = %s
"""
_RENEW = """
UPDATE staging.rejection r
SET reason = n.reason, field = n.field, message = n.message, event_type = n.event_type, event_id = n.event_id
FROM refused n WHERE r.rejection_id = n.line AND r.resolved_batch_id IS NULL
"""
_RESOLVE = """
WITH resolved AS (
  UPDATE staging.rejection SET resolved_batch_id = %s
  WHERE rejection_id IN (SELECT rejection_id FROM replayed EXCEPT SELECT line FROM refused)
    AND resolved_batch_id IS NULL
  RETURNING 1
)
SELECT count(*) FROM resolved
"""


def keep(cursor: Any, incoming: Incoming, seal: Seal | None, refused: list[Rejection], batch_id: int) -> int:
    """Keep what was refused, with its raw line and the newest reason; returns how many were not open before."""
    if not refused:
        return 0
    most = max(1, _AT_ONCE // (len(incoming.header or "") + _LEAST_ROW))
    for first in range(0, len(refused), most):
        bulk.copy_in(cursor, "refused", _kept(incoming, refused[first : first + most], seal))
    header = None if seal else incoming.header
    cursor.execute(_REJECT, (batch_id, incoming.source, incoming.format, header, seal is not None, batch_id))
    return int(cursor.fetchone()[0])


def resolve(cursor: Any, incoming: Incoming, refused: list[Rejection], batch_id: int) -> int:
    """Mark the replayed rejections that are staged now, renew the others' reason; returns how many were resolved."""
    bulk.copy_in(cursor, "replayed", pa.table({"rejection_id": incoming.lines}))
    if refused:
        bulk.copy_in(cursor, "refused", _why(incoming, refused))
    cursor.execute(_RENEW)
    cursor.execute(_RESOLVE, (batch_id,))
    return int(cursor.fetchone()[0])


def _why(incoming: Incoming, rejections: list[Rejection]) -> pa.Table:
    """The rejections by their line, and why each is one."""
    texts = {
        name: pa.array([getattr(r, name) for r in rejections], pa.string())
        for name in ("event_type", "event_id", "reason", "field", "message")
    }
    return pa.table({"line": incoming.lines.take(_ordinals(rejections)), **texts})


def _kept(incoming: Incoming, rejections: list[Rejection], seal: Seal | None) -> pa.Table:
    """The same with their raw bytes (no line ending, at most `MAX_LINE`), sealed where there is a seal, and a digest.

    The digest is of all that says how a line is read: of its format and header too, where it has a header.
    """
    table = _why(incoming, rejections)
    lines = incoming.raw.take(_ordinals(rejections)).to_pylist()
    raws = [raw.removesuffix(b"\n").removesuffix(b"\r")[:MAX_LINE] for raw in lines]
    read_as = b"" if incoming.header is None else f"{incoming.format}\0{incoming.header}\0".encode()
    known_by = [read_as + raw for raw in raws]
    if seal:
        digests = seal.digests(known_by)
        raws = seal.seal(raws, table["line"].to_pylist(), incoming.source, incoming.format, incoming.header)
    else:
        digests = [hashlib.md5(known, usedforsecurity=False).digest() for known in known_by]
    table = table.append_column("raw", pa.array(raws, pa.binary()))
    return table.append_column("raw_digest", pa.array(digests, pa.binary(16)))


def _ordinals(rejections: list[Rejection]) -> pa.Array:
    return pa.array([r.ordinal for r in rejections], pa.int64())
