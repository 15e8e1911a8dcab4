"""The SQLAlchemy tables: `staging.<event type>` from the contracts, and what landing and the pipeline keep account in.

Shapes: an event's table holds the contract's fields, `extra` (JSON of fields the contract does not know), `event_on`
(its day in the agency's time zone), `landed_at` and `batch_id`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
    text,
)

from wayfare.contracts import EVENT_TYPES, EventType, Kind

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

metadata = MetaData()

_SOURCE = "Where it came from: a path, stdin, queue:NAME, http:PRODUCER or replay."
_NAME_OF_TYPE = "Event type; from its second major version on with that, like travel_v2."

_SQL: dict[Kind, TypeEngine[Any]] = {
    Kind.UUID: Uuid(),
    Kind.INSTANT: DateTime(timezone=True),
    Kind.DATE: Date(),
    Kind.COUNT: Integer(),
    Kind.MONEY: BigInteger(),
    Kind.FLAG: Boolean(),
}


def _instant(name: str, *, default: bool = False) -> Column[Any]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=text("now()") if default else None)


def event_table(event_type: EventType, into: MetaData) -> Table:
    """The staging table of one event type, registered in `into`."""
    columns: list[Column[Any]] = [
        Column(f.name, _SQL.get(f.kind, Text()), nullable=not f.required, comment=f.doc) for f in event_type.fields
    ]
    indexes = [Index(f"{event_type.name}_event_on", "event_on", "batch_id")]
    if "booking_id" in event_type.by_name:
        indexes.append(Index(f"{event_type.name}_booking_id", "booking_id"))
    return Table(
        event_type.name,
        into,
        *columns,
        Column("extra", Text, comment="JSON of the fields that the contract does not know."),
        Column("event_on", Date, nullable=False, comment="Day of occurred_at in the agency's time zone."),
        Column("landed_at", DateTime(timezone=True), nullable=False, comment="When it was staged."),
        Column("batch_id", BigInteger, nullable=False, comment="The batch that staged it."),
        *indexes,
        schema="staging",
        comment=event_type.doc,
    )


STAGED: dict[str, Table] = {e.name: event_table(e, metadata) for e in EVENT_TYPES.values()}
"""Staging tables by name, as the event types."""

identity = Table(
    "identity",
    metadata,
    Column("event_id", Uuid, primary_key=True),
    Column("batch_id", BigInteger, comment="The batch that staged it; empty where that was before revision 0010."),
    schema="staging",
    comment="Every event_id ever staged: what makes landing exactly-once in effect.",
)

rejection = Table(
    "rejection",
    metadata,
    Column("rejection_id", BigInteger, Identity(), primary_key=True),
    Column("batch_id", BigInteger, nullable=False, comment="The batch that refused it."),
    Column("source", Text, nullable=False, comment=_SOURCE),
    Column(
        "format",
        Text,
        nullable=False,
        comment="How `raw` is to be read: jsonl, csv, parquet (a row as JSON) or mapping:NAME.",
    ),
    Column("line", BigInteger, nullable=False, comment="Line or row in the source, from 1."),
    Column("event_type", Text, comment="Event type, where it could be read."),
    Column("event_id", Text, comment="Event id, where it could be read."),
    Column("reason", Text, nullable=False, comment="Reason code; `conflict` is a known event_id with other content."),
    Column("field", Text, comment="The field at fault."),
    Column("message", Text, nullable=False, comment="What is wrong and what to do."),
    Column(
        "raw", LargeBinary, nullable=False, comment="The line as it came, byte for byte; with its header where sealed."
    ),
    Column("header", Text, comment="The line that names the cells of `raw`, where its format has one."),
    Column(
        "raw_digest",
        Uuid,
        nullable=False,
        comment="MD5 of raw, after format and header where it has one, or HMAC where sealed: kept once for each.",
    ),
    Column("resolved_batch_id", BigInteger, comment="The batch in which a replay resolved it."),
    Column(
        "sealed",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="Whether `raw` is encrypted under a key that follows from WAYFARE_CUSTOMER_KEY.",
    ),
    Index("rejection_once", "source", "line", "raw_digest", unique=True),
    schema="staging",
    comment="Lines that landing refused, kept whole, and whether a replay has resolved them.",
)

batch = Table(
    "batch",
    metadata,
    Column("batch_id", BigInteger, primary_key=True, autoincrement=False, comment="In commit order, without gaps."),
    _instant("landed_at"),
    Column("source", Text, nullable=False, comment=_SOURCE),
    Column("landed", BigInteger, nullable=False, comment="Events staged."),
    Column("duplicates", BigInteger, nullable=False, comment="Events that were staged before with the same content."),
    Column("conflicts", BigInteger, nullable=False, comment="Events whose event_id is staged with other content."),
    Column("rejected", BigInteger, nullable=False, comment="Lines that are not events."),
    schema="control",
    comment="One row per committed batch; everything up to batch N is a stable set.",
)

change = Table(
    "change",
    metadata,
    Column("event_type", Text, primary_key=True, comment=_NAME_OF_TYPE),
    Column("event_on", Date, primary_key=True, comment="Agency-local day whose events changed."),
    Column("batch_id", BigInteger, primary_key=True),
    Column("rows", BigInteger, nullable=False, comment="Events added; 0 where only what they refer to changed."),
    Column("first_batch_id", BigInteger, comment="The first of the batches that are folded; empty where it is one."),
    Index("change_batch_id", "batch_id"),
    schema="control",
    comment="Change log: which days of which event type each batch touched.",
)

installation = Table(
    "installation",
    metadata,
    Column("singleton", Boolean, primary_key=True, server_default=text("true")),
    Column("timezone", Text, nullable=False, comment="Zone by which event_on was computed; it cannot change."),
    CheckConstraint("singleton"),
    schema="control",
    comment="What this installation was created with.",
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("analysis", Text, nullable=False),
    Column("event_type", Text, nullable=False, comment=_NAME_OF_TYPE),
    Column("event_on", Date, nullable=False),
    Column("event_id", Uuid, nullable=False),
    Column("rule", Text, nullable=False, comment="The expectation that the event broke."),
    Column("through_batch", BigInteger, nullable=False),
    _instant("judged_at", default=True),
    Index("quarantine_day", "analysis", "event_type", "event_on"),
    schema="control",
    comment="Staged events that an analysis left out, and why.",
)

validation = Table(
    "validation",
    metadata,
    Column("validation_id", BigInteger, Identity(), primary_key=True),
    Column("analysis", Text, nullable=False),
    Column("gate", Text, nullable=False, comment="input or output."),
    Column("chunk", Text, nullable=False, comment="Key of the chunk judged."),
    Column("asset", Text, nullable=False, comment="Event type or mart judged."),
    Column("expectation", Text, nullable=False),
    Column("field", Text),
    Column("severity", Text, nullable=False, comment="critical, warning or info."),
    Column("success", Boolean, nullable=False),
    Column("rows", BigInteger, comment="Rows judged."),
    Column("unexpected", BigInteger, comment="Rows that broke it."),
    Column("observed", Text, comment="What was seen, as JSON."),
    Column("message", Text, nullable=False),
    _instant("judged_at", default=True),
    Index("validation_chunk", "analysis", "gate", "chunk"),
    schema="control",
    comment="Every expectation's verdict, for both gates.",
)

publication = Table(
    "publication",
    metadata,
    Column("publication_id", BigInteger, Identity(), primary_key=True),
    Column("analysis", Text, nullable=False),
    Column("output_from", Date, nullable=False),
    Column("output_to", Date, nullable=False),
    Column("through_batch", BigInteger, nullable=False, comment="Input is everything up to this batch."),
    Column("fingerprint", Text, nullable=False, comment="Digest of code, contract and settings."),
    Column("rows", BigInteger, nullable=False),
    Column("seconds", Double, nullable=False, comment="Time the publish transaction took."),
    Column("run_id", Text, nullable=False, comment="Airflow run, or cli."),
    _instant("published_at", default=True),
    Index("publication_analysis", "analysis", "published_at"),
    schema="control",
    comment="One row per publish transaction.",
)

published_day = Table(
    "published_day",
    metadata,
    Column("analysis", Text, primary_key=True),
    Column("output_on", Date, primary_key=True),
    Column("publication_id", BigInteger, nullable=False),
    Column("through_batch", BigInteger, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("rows", BigInteger, nullable=False),
    schema="control",
    comment="The publication that each output day now stands on.",
)

producer = Table(
    "producer",
    metadata,
    Column("name", Text, primary_key=True, comment="What its events carry as `source`."),
    Column("token_digest", LargeBinary, nullable=False, comment="SHA-256 of its token, which is kept nowhere."),
    Column("event_types", ARRAY(Text), nullable=False, comment="Event types that it may send."),
    Column("events_per_second", Integer, nullable=False, comment="How many events a second it may send."),
    _instant("added_at", default=True),
    Column("revoked_at", DateTime(timezone=True), comment="Since when its token is refused."),
    schema="control",
    comment="Who may send events over HTTP.",
)
