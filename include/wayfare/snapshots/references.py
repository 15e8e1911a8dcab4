"""The sold item behind a cancellation, a refund or a travel event, and what the event takes back of it.

Belongs here: the columns that day files of such types add, and the query for them as of a batch. What an event takes
back of which sale is the business of `wayfare.snapshots.settlement`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from wayfare.snapshots import settlement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wayfare.contracts import EventType
    from wayfare.snapshots.dayfiles import DayFile


@dataclass(frozen=True, slots=True)
class ReferenceColumn:
    """One column that day files of types that refer to a sale have beyond the staged ones."""

    name: str
    type: pa.DataType
    doc: str
    nullable: bool = True

    @property
    def arrow(self) -> pa.Field:
        """The column in an Arrow schema."""
        return pa.field(self.name, self.type, nullable=self.nullable)


def _taken(name: str, doc: str) -> ReferenceColumn:
    return ReferenceColumn(name, pa.int64(), doc, nullable=False)


_TEXT, _DATE = pa.string(), pa.date32()

REFERENCE_COLUMNS = (
    ReferenceColumn(
        "item_rank", pa.int32(), "1 for the event's first row: count events where it is 1.", nullable=False
    ),
    ReferenceColumn("item_kind", _TEXT, "booking or purchase; empty where the sale is unknown."),
    ReferenceColumn("item_event_id", pa.uuid(), "event_id of the sale; several sales may have one key."),
    ReferenceColumn("item_key", _TEXT, "The sale's item_id or purchase_id."),
    ReferenceColumn("item_product", _TEXT, "The sale's product, or the ancillary's category."),
    ReferenceColumn("item_booked_at", pa.timestamp("us", "UTC"), "When it was sold."),
    ReferenceColumn("item_booked_on", _DATE, "Agency-local day on which it was sold."),
    ReferenceColumn("item_resource_id", _TEXT, "The sale's resource_id."),
    ReferenceColumn("item_destination", _TEXT, "The item's destination; empty for an ancillary."),
    ReferenceColumn("item_sku", _TEXT, "The ancillary's sku; empty for an item."),
    ReferenceColumn("item_start_on", _DATE, "The item's start_on, or the ancillary's service_on."),
    ReferenceColumn("item_end_on", _DATE, "The item's end_on; empty for an ancillary."),
    ReferenceColumn("item_currency", _TEXT, "Currency of the sale and of all amounts of the row."),
    ReferenceColumn("item_point_of_sale", _TEXT, "The sale's point_of_sale."),
    ReferenceColumn("item_customer_id", _TEXT, "The sale's customer_id."),
    ReferenceColumn("item_is_test", pa.bool_(), "Whether the sale is a test."),
    ReferenceColumn("item_units", pa.int64(), "Units sold, or the ancillary's quantity."),
    _taken("reversed_units", "Units the event takes back, or travel holds for; never more than are left."),
    _taken("reversed_price", "What was paid for those units, or what is refunded, minor units."),
    _taken("reversed_cost", "Their share of the cost, minor units."),
    _taken("reversed_commission", "Their share of the commission, minor units."),
    _taken("reversed_fee", "Their share of the agency's fee, minor units."),
    _taken("kept_penalty", "Penalty kept of reversed_price, minor units."),
    _taken("given_back", "What the event takes off net revenue beyond what was taken off before, minor units."),
)
"""What day files of cancellations, refunds and travel add: one row per event and sale it takes back."""


def version(event_type: EventType) -> str:
    """Digest of the SQL behind a type's reference columns, so that a change of it is a change of files and numbers."""
    return hashlib.sha256(settlement.steps(event_type).encode()).hexdigest()[:8]


def query(event_type: EventType, files: Sequence[DayFile]) -> str:
    """SQL for the rows of `files`, all of `event_type`, in the order of days; columns as in their schema.

    Run it with `enable_nestloop` off: its steps join what no statistics describe, and a nested loop over a whole day
    is quadratic. Dates and batch ids stand in it as literals, because PostgreSQL's COPY takes no parameters.
    """
    wanted = ", ".join(f"(DATE '{f.event_on.isoformat()}', {f.batch_id:d}::bigint)" for f in files)
    days = ", ".join(f"DATE '{f.event_on.isoformat()}'" for f in files)
    names = event_type.staged_schema.names
    return f"""
WITH wanted (event_on, as_of) AS (VALUES {wanted}),
asked AS MATERIALIZED (
  SELECT {", ".join(f"e.{name}" for name in names)}, w.as_of
  FROM staging.{event_type.name} e JOIN wanted w ON w.event_on = e.event_on AND e.batch_id <= w.as_of
  WHERE e.event_on IN ({days})
),
{settlement.steps(event_type)}
SELECT {", ".join(f"e.{name}" for name in names)}, {", ".join(map(_output, REFERENCE_COLUMNS))}
FROM asked e
JOIN scope ON scope.as_of = e.as_of AND scope.booking_id = e.booking_id
LEFT JOIN referred ON abs(referred.scope_id) = scope.scope_id AND referred.event_id = e.event_id
LEFT JOIN sale ON sale.scope_id = referred.scope_id AND sale.item_kind = referred.item_kind
  AND sale.item_key = referred.item_key AND sale.place = referred.place
ORDER BY e.event_on
"""  # noqa: S608 - literals are dates and integers, identifiers come from the contracts


def _output(column: ReferenceColumn) -> str:
    if column.name == "item_rank":
        return "coalesce(referred.item_rank, 1)::int AS item_rank"
    if not column.nullable:
        return f"coalesce(referred.{column.name}, 0)::bigint AS {column.name}"
    return f"sale.{column.name}"
