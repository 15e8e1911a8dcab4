"""JSON Schema (2020-12) of the events, for whoever writes them."""

from __future__ import annotations

from typing import Any

from wayfare.contracts.events import EVENT_TYPES
from wayfare.contracts.model import JSON_SCHEMA
from wayfare.errors import DeclarationError, nearest


def json_schema(name: str | None = None) -> dict[str, Any]:
    """JSON Schema of one event type, or one that an event of any type fits; see `EventType.json_schema`.

    Raises
    ------
    DeclarationError
        There is no event type of that name; says which is near.
    """
    if name is None:
        definitions = {n: e.json_schema() for n, e in EVENT_TYPES.items()}
        choices = [{"$ref": f"#/$defs/{n}"} for n in definitions]
        return {"$schema": JSON_SCHEMA, "title": "event", "oneOf": choices, "$defs": definitions}
    if name not in EVENT_TYPES:
        raise DeclarationError(f"there is no event type {name!r}{nearest(name, EVENT_TYPES)}")
    return EVENT_TYPES[name].json_schema()
