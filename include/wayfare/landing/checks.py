"""What is computed from a typed event: its day, the first rule it breaks, its digest, its customer's pseudonym.

One DuckDB pass per event type, whichever path typed the events.
"""

from __future__ import annotations

import functools
import hashlib
import uuid
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from wayfare.contracts import EventType, Field, Kind
from wayfare.landing.careful import shown
from wayfare.staging.incoming import Rejection

if TYPE_CHECKING:
    import datetime as dt

    import duckdb

    from wayfare.settings import Settings

PSEUDONYMIZED = "customer_id"
_BLOCK = 64


def check(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    contract: EventType,
    typed: pa.Table,
    landed_at: dt.datetime,
) -> tuple[pa.Table, list[Rejection]]:
    """Events that keep every rule, with `event_on` and `content` (16 bytes) appended, and those that break one.

    `typed` is in the order of `ordinal`.

    `content` digests the fields that have a value, under their names: the same event has the same content whatever
    format it came in, and keeps it when its contract gains a field.
    """
    keyed = settings.customer_key is not None
    connection.register("typed", typed)
    parameters: dict[str, Any] = {"zone": settings.timezone, "landed_at": landed_at}
    if settings.customer_key is not None:
        parameters |= _pads(settings.customer_key.get_secret_value().encode())
    found = connection.sql(statement(contract, keyed=keyed), params=parameters).to_arrow_table()
    connection.unregister("typed")
    if keyed:
        at = typed.schema.get_field_index(PSEUDONYMIZED)
        typed = typed.set_column(at, typed.schema.field(at), found[PSEUDONYMIZED])
    typed = typed.append_column("event_on", found["event_on"])
    typed = typed.append_column("content", found["content"].cast(pa.binary(16)))
    broken = found["broken"]
    if broken.null_count == len(broken):
        return typed, []
    events = typed.filter(broken.is_valid()).to_pylist()
    refused = [
        _rejection(contract, rule, event) for rule, event in zip(broken.drop_null().to_pylist(), events, strict=True)
    ]
    return typed.filter(broken.is_null()), refused


@functools.cache
def statement(contract: EventType, *, keyed: bool) -> str:
    """SQL over `typed`, row for row in the order of `ordinal`."""
    rules = "\n".join(f"    WHEN NOT ({rule.holds}) THEN {i}" for i, rule in enumerate(contract.rules))
    broken = f"CASE\n{rules}\n  END" if rules else "NULL"
    parts = [f"'{f.name}=' || {_rendered(f)}" for f in sorted(contract.fields, key=lambda f: f.name)]
    content = ",\n    ".join([f"'event_type={contract.name}'", *parts, "'=' || extra"])
    replaced = f"REPLACE ({_PSEUDONYM} AS {PSEUDONYMIZED})" if keyed else ""
    return f"""
SELECT ordinal, {PSEUDONYMIZED}, event_on,
  {broken} AS broken,
  unhex(md5(concat_ws(chr(0),
    {content}))) AS content
FROM (SELECT * {replaced}, CAST(timezone($zone, occurred_at) AS DATE) AS event_on,
        CAST($landed_at AS TIMESTAMPTZ) AS landed_at
      FROM typed)
ORDER BY ordinal
"""  # noqa: S608  # identifiers come from the contracts


_PSEUDONYM = f"sha256($outer || unhex(sha256($inner || encode({PSEUDONYMIZED}))))"


def _pads(key: bytes) -> dict[str, bytes]:
    """The two keyed prefixes of HMAC-SHA256 (RFC 2104)."""
    key = (hashlib.sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
    return {"inner": bytes(b ^ 0x36 for b in key), "outer": bytes(b ^ 0x5C for b in key)}


def _rendered(field: Field) -> str:
    """SQL of a value as text that no format and no version of DuckDB changes."""
    match field.kind:
        case Kind.UUID:
            return f"hex({field.name})"
        case Kind.INSTANT:
            return f"epoch_us({field.name})"
        case Kind.FLAG:
            return f"CASE {field.name} WHEN true THEN 'true' WHEN false THEN 'false' END"
        case _:
            return field.name


def _rejection(contract: EventType, rule: int, event: dict[str, Any]) -> Rejection:
    broken = contract.rules[rule]
    value = event[broken.field]
    told = broken.field if value is None else f"{broken.field} {shown(value)}"
    event_id = str(uuid.UUID(bytes=event["event_id"]))
    return Rejection(event["ordinal"], broken.code, f"{told} {broken.says}", broken.field, contract.name, event_id)
