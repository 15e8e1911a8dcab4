"""Events for the landing tests: plain ones, and hypothesis strategies of odd ones."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import psycopg

from wayfare.contracts import EVENT_TYPES

if TYPE_CHECKING:
    from pathlib import Path

    from wayfare.settings import Settings

_PLAIN = {
    "search": {"search_id": "s1", "product": "hotel", "destination": "LIS", "start_on": "2026-04-01", "adults": 2,
               "result_count": 5},
    "booking": {"booking_id": "b1", "item_id": "i1", "product": "hotel", "resource_id": "hotel:PT-0031/double",
                "destination": "LIS", "start_on": "2026-04-01", "end_on": "2026-04-03", "units": 1, "price": 10050,
                "currency": "EUR"},
    "cancellation": {"cancellation_id": "c1", "booking_id": "b1", "units": 1, "initiator": "customer"},
    "purchase": {"purchase_id": "p1", "booking_id": "b1", "category": "meal", "sku": "meal/veg", "quantity": 1,
                 "price": 1250, "currency": "EUR"},
    "travel": {"booking_id": "b1", "item_id": "i1", "outcome": "completed"},
    "inventory": {"resource_id": "hotel:PT-0031/double", "product": "hotel", "service_on": "2026-04-01",
                  "capacity": 10, "on_hand": 4, "is_open": True},
}  # fmt: skip


def event(event_type: str = "search", number: int = 1, **changes: Any) -> dict[str, Any]:
    """A valid event whose id follows from `number`."""
    return {
        "event_type": event_type,
        "event_id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{event_type}{number}")),
        "schema_version": "1-0-0",
        "occurred_at": f"2026-03-{number % 28 + 1:02}T10:00:00Z",
        "source": "web",
        **_PLAIN[event_type],
        **changes,
    }


def write(path: Path, events: list[dict[str, Any]] | list[bytes]) -> str:
    """A JSON Lines file of events, or of lines as they are."""
    lines = [e if isinstance(e, bytes) else json.dumps(e).encode() for e in events]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return str(path)


def query(settings: Settings, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(settings.url("owner")) as connection:
        return connection.execute(statement).fetchall()


def staging(settings: Settings) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that staging holds of events, but for when and with which batch it came."""
    staged = {}
    for contract in EVENT_TYPES.values():
        columns = ", ".join(contract.arrow_schema.names)
        statement = f"SELECT {columns}, event_on FROM staging.{contract.name} ORDER BY event_id"
        staged[contract.name] = query(settings, statement)
    staged["identity"] = query(settings, "SELECT event_id FROM staging.identity ORDER BY event_id")
    staged["days"] = query(
        settings,
        "SELECT event_type, event_on, sum(rows) FROM control.change WHERE rows > 0 GROUP BY 1, 2 ORDER BY 1, 2",
    )
    return staged
