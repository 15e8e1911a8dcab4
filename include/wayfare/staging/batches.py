"""The one transaction that stages a batch: what is new of it, what was refused, and the change log."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any, Self

import psycopg2
import pyarrow as pa
import pyarrow.compute as pc

from wayfare.contracts import EVENT_TYPES, EventType
from wayfare.errors import ConfigurationError, DataError, ServiceError
from wayfare.staging import bulk, locks, rejections
from wayfare.staging.database import AT_REVISION, NOT_MIGRATED, check_revision, check_zone, transaction
from wayfare.staging.incoming import CONFLICT, Incoming, Landed, Rejection, Staged
from wayfare.staging.sealing import Seal, seal_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wayfare.settings import Settings

_REFERRING = tuple(e.type for e in EVENT_TYPES.values() if e.refers)
_TOUCHES = {"booking": _REFERRING, "cancellation": _REFERRING, "travel": ("travel",)}
_TOUCHES |= dict.fromkeys(("purchase", "refund"), ("cancellation", "refund"))
"""Whose day files carry what an event of a type changes: see `wayfare.snapshots.references`."""

_INSTANT = pa.timestamp("us", "UTC")

_TEMPORARY = (
    "CREATE TEMP TABLE IF NOT EXISTS incoming_key (event_id uuid, ordinal bigint) ON COMMIT DELETE ROWS",
    "CREATE TEMP TABLE IF NOT EXISTS touching (booking_id text) ON COMMIT DELETE ROWS",
    *rejections.TEMPORARY,
)
_KNOWN = """
SELECT i.ordinal, k.batch_id
FROM incoming_key i, LATERAL (SELECT batch_id FROM staging.identity WHERE event_id = i.event_id OFFSET 0) k
"""
_AGAIN = """
CREATE TEMP TABLE IF NOT EXISTS again_{table} ON COMMIT DELETE ROWS
AS SELECT CAST(0 AS bigint) AS ordinal, {columns} FROM staging.{table} WITH NO DATA
"""
_SAME = """
SELECT a.ordinal FROM again_{table} a JOIN staging.{table} s ON s.event_id = a.event_id
WHERE s.event_on = ANY (ARRAY(SELECT DISTINCT event_on FROM again_{table}))
  AND (%(batches)s IS NULL OR s.batch_id = ANY (%(batches)s::bigint[]))
  AND {required}
  AND CASE WHEN {optional} THEN true
    WHEN NOT pg_input_is_valid(s.extra, 'jsonb') OR NOT pg_input_is_valid(a.extra, 'jsonb') THEN false
    ELSE {gained} END
"""
_EQUAL = "a.{0} IS NOT DISTINCT FROM s.{0}"
_GAINED = "coalesce(to_jsonb(a.{0}), {1}) = coalesce(to_jsonb(s.{0}), s.extra::jsonb -> '{0}', {1})"
_LEFT = "coalesce(a.extra::jsonb, '{{}}') = coalesce(s.extra::jsonb, '{{}}') - ARRAY[{0}]"
_TOUCH = """
INSERT INTO control.change (event_type, event_on, batch_id, rows)
SELECT DISTINCT %(table)s, event_on, %(batch_id)s, 0 FROM staging.{table}
WHERE booking_id IN (SELECT booking_id FROM touching) AND batch_id < %(batch_id)s
ON CONFLICT DO NOTHING
"""
_BATCH = """
INSERT INTO control.batch (batch_id, landed_at, source, landed, duplicates, conflicts, rejected)
VALUES (%s, %s, %s, %s, %s, %s, %s)
"""


class Stager:
    """Stages batches over a connection of its own; a context manager. One that raised must not be used again.

    Batch ids are in commit order without gaps: each is taken under a lock that the committing transaction holds.

    Raises
    ------
    ConfigurationError
        The schema is not there, or its days are of another zone than the settings'.
    ServiceError
        PostgreSQL does not answer.
    """

    def __init__(self, settings: Settings) -> None:
        with transaction(settings.url("landing")) as connection:
            check_zone(connection, settings.timezone)
        self._connection = bulk.connect(settings.url("landing"))
        self._seal = seal_of(settings)
        self._meets_known = False  # ids staged before are rare, and looking for them takes as long as staging them

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def stage(self, incoming: Incoming, *, replayed: bool = False) -> Staged:
        """Stage what is new, all of it or nothing, and say what became of the rest.

        Where nothing is new nothing is written: landing the same input again makes no batch. With `replayed`, `lines`
        are ids of rejections: those staged now are marked as resolved, the others keep their new reason.

        Raises
        ------
        ConfigurationError
            The schema is older than the contracts, or of another revision than the code's.
        DataError
            PostgreSQL rejects this data; nothing of this batch is staged, nor would it be another time.
        ServiceError
            PostgreSQL gave up; nothing of this batch is staged.
        """
        try:
            try:
                return self._attempt(incoming, replayed=replayed)
            except psycopg2.IntegrityError:
                if self._meets_known:
                    raise
                self._connection.rollback()
                self._meets_known = True
                return self._attempt(incoming, replayed=replayed)
        except psycopg2.Error as error:
            if isinstance(error, psycopg2.ProgrammingError):
                raise ConfigurationError(f"{NOT_MIGRATED}: {error}") from error
            if isinstance(error, (psycopg2.DataError, psycopg2.IntegrityError)):
                raise DataError(
                    f"PostgreSQL rejects a batch of {incoming.source}; nothing of it is staged: {error}"
                ) from error
            raise ServiceError(
                f"landing stopped: {error}; land the same input again to continue, nothing is duplicated"
            ) from error

    def _attempt(self, incoming: Incoming, *, replayed: bool) -> Staged:
        with self._connection.cursor() as cursor:
            # First of all: a migration waits for a batch that has asked, and nobody for one that waits for a migration.
            cursor.execute(AT_REVISION)
            check_revision(*cursor.fetchone())
            batch = _Batch(cursor, incoming, self._seal, meets_known=self._meets_known)
            staged = batch.run(replayed=replayed)
        self._connection.commit()
        self._meets_known = batch.meets_known
        return staged


class _Batch:
    """One batch in its transaction.

    Unless it `meets_known`, ids staged before are not looked for: one of them fails the transaction.
    """

    def __init__(self, cursor: Any, incoming: Incoming, seal: Seal | None, *, meets_known: bool) -> None:
        self._cursor = cursor
        self._incoming = incoming
        self._seal = seal
        self.meets_known = meets_known
        for statement in _TEMPORARY:
            cursor.execute(statement)

    def run(self, *, replayed: bool) -> Staged:
        incoming = self._incoming
        locks.take(self._cursor, locks.BATCH_LOCK)
        ((batch_id,),) = self._rows("SELECT coalesce(max(batch_id), 0) + 1 FROM control.batch")
        again, batches = self._claim(batch_id)
        fresh = [(contract, new) for contract, table in incoming.events if len(new := _without(table, again))]
        if fresh:
            self._insert_events(fresh, batch_id)
            self._log_changes(fresh, batch_id)
        duplicates = self._duplicates(again, batches)
        conflicts = again.filter(pc.invert(pc.is_in(again, duplicates)))
        refused = [*incoming.rejections, *self._conflicts(conflicts)]
        counts = Landed(
            incoming.read, sum(len(t) for _, t in fresh), len(duplicates), len(conflicts), len(incoming.rejections)
        )
        if replayed:
            kept = rejections.resolve(self._cursor, incoming, refused, batch_id)
        else:
            kept = rejections.keep(self._cursor, incoming, self._seal, refused, batch_id)
        if fresh or kept:
            self._insert_batch(counts, batch_id)
        return Staged(counts, duplicates.to_pylist(), refused)

    def _claim(self, batch_id: int) -> tuple[pa.Array, set[int | None]]:
        """Stage the ids that are new.

        Returns
        -------
        tuple
            Ordinals of the events whose id was staged, or came earlier in the batch, and the batches that staged these
            ids: this one among them, None for those staged before identities told.
        """
        keys = self._incoming.keys
        repeats = pc.not_equal(keys["first"], keys["ordinal"])
        firsts = keys.filter(pc.invert(repeats)) if pc.any(repeats).as_py() else keys
        staged = list[tuple[int, int | None]]()
        if self.meets_known:
            self._send("incoming_key", firsts.select(["event_id", "ordinal"]))
            staged = self._rows(_KNOWN)
            self.meets_known = len(staged) > 0
        known = pa.array((ordinal for ordinal, _ in staged), pa.int64())
        new = _without(firsts, known).select(["event_id"])
        self._send("staging.identity", new.append_column("batch_id", _repeated(batch_id, pa.int64(), new)))
        again = keys["ordinal"].filter(pc.or_(repeats, pc.is_in(keys["first"], known))).combine_chunks()
        return again, {batch_id, *(batch for _, batch in staged)}

    def _duplicates(self, again: pa.Array, batches: set[int | None]) -> pa.Array:
        """Those of the ordinals whose event is staged just so, in one of the batches."""
        same, within = list[int](), {"batches": None if None in batches else list(batches)}
        if len(again):
            self._cursor.execute("SET LOCAL enable_nestloop = off")
        for contract, table in self._incoming.events if len(again) else ():
            here = table.filter(pc.is_in(table["ordinal"], again))
            if len(here):
                columns = [*contract.arrow_schema.names, "event_on"]
                self._cursor.execute(_AGAIN.format(table=contract.name, columns=", ".join(columns)))
                self._send(f"again_{contract.name}", here.select(["ordinal", *columns]))
                same += (ordinal for (ordinal,) in self._rows(_same(contract), within))
        return pa.array(same, pa.int64())

    def _conflicts(self, ordinals: pa.Array) -> Iterator[Rejection]:
        for contract, table in self._incoming.events if len(ordinals) else ():
            here = table.filter(pc.is_in(table["ordinal"], ordinals))
            for ordinal, raw_id in zip(here["ordinal"].to_pylist(), here["event_id"].to_pylist(), strict=True):
                event_id = str(uuid.UUID(bytes=raw_id))
                message = (
                    f"event_id {event_id} is already staged with different content, and staged events are never "
                    "overwritten; send the corrected event under a new event_id, or change a sold item by a "
                    "cancellation and a new booking"
                )
                yield Rejection(ordinal, CONFLICT, message, "event_id", contract.type, event_id)

    def _insert_events(self, fresh: list[tuple[EventType, pa.Table]], batch_id: int) -> None:
        for contract, table in fresh:
            staged = table.append_column("landed_at", _repeated(self._incoming.landed_at, _INSTANT, table))
            staged = staged.append_column("batch_id", _repeated(batch_id, pa.int64(), table))
            self._send(f"staging.{contract.name}", staged.select(contract.staged_schema.names))

    def _log_changes(self, fresh: list[tuple[EventType, pa.Table]], batch_id: int) -> None:
        for contract, table in fresh:
            days = table["event_on"].value_counts()
            change = {
                "event_type": _repeated(contract.name, pa.string(), days),
                "event_on": days.field("values"),
                "batch_id": _repeated(batch_id, pa.int64(), days),
                "rows": days.field("counts"),
            }
            self._send("control.change", pa.table(change))
        for contract, table in fresh:
            types = _TOUCHES.get(contract.type, ())
            touched = [e.name for e in EVENT_TYPES.values() if e.type in types]
            if touched:
                self._cursor.execute("TRUNCATE touching")
                self._send("touching", table.select(["booking_id"]))
            for name in touched:
                self._cursor.execute(_TOUCH.format(table=name), {"table": name, "batch_id": batch_id})

    def _insert_batch(self, counts: Landed, batch_id: int) -> None:
        incoming = self._incoming
        self._cursor.execute(
            _BATCH,
            (
                batch_id, incoming.landed_at, incoming.source,
                counts.landed, counts.duplicates, counts.conflicts, counts.rejected,
            ),
        )  # fmt: skip

    def _send(self, table: str, rows: pa.Table) -> None:
        if len(rows):
            bulk.copy_in(self._cursor, table, rows)

    def _rows(self, statement: str, values: Mapping[str, object] | None = None) -> list[tuple[Any, ...]]:
        self._cursor.execute(statement, values)
        return list(self._cursor.fetchall())


def _same(contract: EventType) -> str:
    """The query for events that are staged just so: in every column, or in `extra` from before a field was gained."""
    required = [f.name for f in contract.fields if f.required] + ["event_on"]
    defaults = {f.name: f"'{json.dumps(f.default)}'::jsonb" for f in contract.fields if not f.required}
    left = _LEFT.format(", ".join(f"'{name}'" for name in defaults))
    return _SAME.format(
        table=contract.name,
        required=" AND ".join(_EQUAL.format(name) for name in required),
        optional=" AND ".join(_EQUAL.format(name) for name in (*defaults, "extra")),
        gained=" AND ".join([*(_GAINED.format(*item) for item in defaults.items()), left]),
    )


def _without(table: pa.Table, ordinals: pa.Array) -> pa.Table:
    return table.filter(pc.invert(pc.is_in(table["ordinal"], ordinals))) if len(ordinals) else table


def _repeated(value: object, kind: pa.DataType, beside: pa.Table | pa.Array) -> pa.Array:
    return pa.repeat(pa.scalar(value, kind), len(beside))
