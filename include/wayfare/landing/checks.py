"""What is computed from a typed event: its day, the first rule it breaks, its digest, its customer's pseudonym.

One DuckDB pass per event type, whichever path typed the events.
"""

from __future__ import annotations

import functools
import hashlib
import uuid
from typing import TYPE_CHECKING, Any

from wayfare.contracts import EventType, Field, Kind
from wayfare.landing.careful import shown
from wayfare.staging.incoming import Rejection

if TYPE_CHECKING:
    import datetime as dt

    import duckdb
    import pyarrow as pa

    from wayfare.settings import Settings

PSEUDONYMIZED = "customer_id"
_BLOCK = 64


def check(
    connection: duckdb.DuckDBPyConnection, settings: Settings, contract: EventType, source: str, landed_at: dt.datetime
) -> pa.Table:
    """Typed events of the relation `source` (`ordinal` and the contract's Arrow schema), and what is computed of them.

    Appended are `event_on`, `broken` (index of the first broken rule, or null) and `content` (16 bytes), a digest of
    all values but the id: the same event has the same content whatever format it came in, and keeps it when its
    contract gains an optional field.
    """
    key = settings.customer_key
    parameters: dict[str, Any] = {"zone": settings.timezone, "landed_at": landed_at}
    if key is not None:
        parameters |= _pads(key.get_secret_value().encode())
    return connection.sql(statement(contract, source, keyed=key is not None), params=parameters).to_arrow_table()


def rejections(contract: EventType, broken: pa.Table) -> list[Rejection]:
    """Why each of these checked events is refused; all of them are `broken`."""
    columns = ["ordinal", "broken", *contract.by_name]
    return [_rejection(contract, event) for event in broken.select(columns).to_pylist()]


@functools.cache
def statement(contract: EventType, source: str, *, keyed: bool) -> str:
    """SQL of `check`."""
    rules = "\n".join(f"    WHEN NOT ({rule.holds}) THEN {i}" for i, rule in enumerate(contract.rules))
    broken = f"CASE\n{rules}\n  END" if rules else "NULL"
    fields = ",\n    ".join(
        _digested(f) for f in sorted(contract.fields, key=lambda f: f.name) if f.kind is not Kind.UUID
    )
    replaced = f"REPLACE ({_PSEUDONYM} AS {PSEUDONYMIZED})" if keyed else ""
    return f"""
SELECT * EXCLUDE (landed_at),
  {broken} AS broken,
  unhex(md5(concat('{contract.name}', chr(0),
    {fields},
    '=' || extra))) AS content
FROM (SELECT * {replaced}, CAST(timezone($zone, occurred_at) AS DATE) AS event_on,
        CAST($landed_at AS TIMESTAMPTZ) AS landed_at
      FROM {source})
"""  # noqa: S608  # identifiers come from the contracts


_PSEUDONYM = f"sha256($outer || unhex(sha256($inner || encode({PSEUDONYMIZED}))))"


def _pads(key: bytes) -> dict[str, bytes]:
    """The two keyed prefixes of HMAC-SHA256 (RFC 2104)."""
    key = (hashlib.sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
    return {"inner": bytes(b ^ 0x36 for b in key), "outer": bytes(b ^ 0x5C for b in key)}


def _digested(field: Field) -> str:
    """Arguments of concat() that end in NUL, which no text holds; nothing where there is no value.

    Required fields need no name: within a major version none comes or goes.
    """
    if field.required:
        return f"{_rendered(field)}, chr(0)"
    return f"'{field.name}=' || {_rendered(field)} || chr(0)"


def _rendered(field: Field) -> str:
    """SQL of a value as text that no format and no version of DuckDB changes."""
    match field.kind:
        case Kind.INSTANT:
            return f"epoch_us({field.name})"
        case Kind.FLAG:
            return f"CASE {field.name} WHEN true THEN 'true' WHEN false THEN 'false' END"
        case _:
            return field.name


def _rejection(contract: EventType, event: dict[str, Any]) -> Rejection:
    rule = contract.rules[event["broken"]]
    value = event[rule.field]
    told = rule.field if value is None else f"{rule.field} {shown(value)}"
    event_id = str(uuid.UUID(bytes=event["event_id"]))
    return Rejection(event["ordinal"], rule.code, f"{told} {rule.says}", rule.field, contract.name, event_id)
