"""What is computed from a typed event: its day, the first rule it breaks, its customer's pseudonym.

One DuckDB pass per event type, whichever path typed the events.
"""

from __future__ import annotations

import functools
import hashlib
import uuid
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from wayfare import duck
from wayfare.landing.careful import about
from wayfare.staging.incoming import Rejection

if TYPE_CHECKING:
    import datetime as dt

    import duckdb
    import pyarrow as pa

    from wayfare.contracts import EventType
    from wayfare.settings import Settings

PSEUDONYMIZED = "customer_id"
_BLOCK = 64


def check(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    contract: EventType,
    typed: pa.Table,
    landed_at: dt.datetime,
) -> pa.Table:
    """Typed events (`ordinal` and the contract's Arrow schema), and what is computed of them.

    Appended are `event_on` and `broken` (index of the first broken rule, or null).
    """
    key = settings.customer_key
    parameters: dict[str, Any] = {"zone": settings.timezone, "landed_at": landed_at}
    if key is not None:
        parameters |= _pads(key.get_secret_value().encode())
    made = duck.select(connection, statement(contract, keyed=key is not None), parameters, typed=typed)
    # a join promises no order, but keeps it nearly always
    if not made["ordinal"].equals(typed["ordinal"]):
        made = made.take(pc.index_in(typed["ordinal"], made["ordinal"].combine_chunks()))
    if key is not None:
        typed = typed.set_column(typed.column_names.index(PSEUDONYMIZED), PSEUDONYMIZED, made[PSEUDONYMIZED])
    return typed.append_column("event_on", made["event_on"]).append_column("broken", made["broken"])


def rejections(contract: EventType, broken: pa.Table, *, quoting: bool) -> list[Rejection]:
    """Why each of these checked events is refused; all of them are `broken`."""
    columns = ["ordinal", "broken", *contract.by_name]
    return [_rejection(contract, event, quoting=quoting) for event in broken.select(columns).to_pylist()]


@functools.cache
def statement(contract: EventType, *, keyed: bool) -> str:
    """SQL of what `check` computes, by `ordinal`."""
    rules = "\n".join(f"    WHEN NOT ({rule.holds}) THEN {i}" for i, rule in enumerate(contract.rules))
    broken = f"CASE\n{rules}\n  END" if rules else "NULL"
    replaced, pseudonym = (f"REPLACE ({_PSEUDONYM} AS {PSEUDONYMIZED})", f" {PSEUDONYMIZED},") if keyed else ("", "")
    return f"""
SELECT ordinal, event_on,{pseudonym}
  {broken} AS broken
FROM (SELECT * {replaced}, CAST(timezone($zone, occurred_at) AS DATE) AS event_on,
        CAST($landed_at AS TIMESTAMPTZ) AS landed_at
      FROM typed)
"""  # noqa: S608  # identifiers come from the contracts


_PSEUDONYM = f"sha256($outer || unhex(sha256($inner || encode({PSEUDONYMIZED}))))"


def _pads(key: bytes) -> dict[str, bytes]:
    """The two keyed prefixes of HMAC-SHA256 (RFC 2104)."""
    key = (hashlib.sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
    return {"inner": bytes(b ^ 0x36 for b in key), "outer": bytes(b ^ 0x5C for b in key)}


def _rejection(contract: EventType, event: dict[str, Any], *, quoting: bool) -> Rejection:
    rule = contract.rules[event["broken"]]
    value = event[rule.field]
    message = about(rule.field, value, rule.code, rule.says).sentence(quoting=quoting and value is not None)
    event_id = str(uuid.UUID(bytes=event["event_id"]))
    return Rejection(event["ordinal"], rule.code, message, rule.field, contract.type, event_id, event["source"])
