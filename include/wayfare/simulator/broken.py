"""Broken events: what producers get wrong, as JSON Lines, since Parquet could not hold them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import msgspec

from wayfare.contracts import EVENT_TYPES, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import pyarrow as pa


def as_objects(table: pa.Table) -> list[dict[str, Any]]:
    """The events as a producer would write them in JSON: without what is absent."""
    return [{name: value for name, value in row.items() if value is not None} for row in table.to_pylist()]


def break_events(rng: np.random.Generator, table: pa.Table) -> list[bytes]:
    """One broken line for each event, under an id of its own."""
    lines = []
    for event in as_objects(table):
        event["event_id"] = uuid.UUID(bytes=rng.bytes(16), version=4)
        fault = _FAULTS[int(rng.integers(len(_FAULTS)))]
        lines.append(fault(event))
    return lines


def _encode(event: dict[str, Any]) -> bytes:
    return msgspec.json.encode(event)


def _wrong_type(event: dict[str, Any]) -> bytes:
    kinds = {f.name: f.kind for f in EVENT_TYPES[event["event_type"]].fields}
    number = next((name for name in event if kinds.get(name) in {Kind.COUNT, Kind.MONEY}), "occurred_at")
    return _encode(event | {number: "many"})


def _missing_field(event: dict[str, Any]) -> bytes:
    required = [f.name for f in EVENT_TYPES[event["event_type"]].fields if f.required]
    return _encode({name: value for name, value in event.items() if name != required[-1]})


def _bad_currency(event: dict[str, Any]) -> bytes:
    if "currency" not in event:
        return _wrong_type(event)
    return _encode(event | {"currency": "XQX"})


def _unknown_type(event: dict[str, Any]) -> bytes:
    return _encode(event | {"event_type": "boking"})


def _cut_off(event: dict[str, Any]) -> bytes:
    return _encode(event)[:-20]


_FAULTS: tuple[Callable[[dict[str, Any]], bytes], ...] = (
    _wrong_type,
    _missing_field,
    _bad_currency,
    _unknown_type,
    _cut_off,
)
