"""The event contracts: each event type is declared once, in `events.py`.

Belongs here: fields, semantic rules, reference data, and what is derived from a declaration alone (Arrow schema,
JSON Schema, decoder). Does not: anything that reads a file, a database or a setting.
"""

from wayfare.contracts.events import EVENT_TYPES, json_schema
from wayfare.contracts.model import EventType, Field, Kind, Rule

__all__ = ["EVENT_TYPES", "EventType", "Field", "Kind", "Rule", "json_schema"]
