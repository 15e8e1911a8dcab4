"""The columnar path: DuckDB types, in bulk, the lines about which there can be no doubt.

It accepts only flat JSON objects of known fields, each once, written in the plainest way; whatever else there is it
leaves to `careful`, which knows why. What both accept they give the same values.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from wayfare.contracts import EventType, Field, Kind
from wayfare.contracts.model import MAX_ID, MAX_TEXT

if TYPE_CHECKING:
    from collections.abc import Iterable

    import duckdb
    import pyarrow as pa

FEW = 1_000
"""Lines of one event type that are read row by row sooner than DuckDB has planned how to type them."""

_HEX = "[0-9a-fA-F]"
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9]"
_DAY = "[0-9]{2}-[0-9]{2}"
_UUID = f'"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}"'
_INSTANT = rf'"20[0-9]{{2}}-{_DAY}T{_CLOCK}:[0-5][0-9](\.[0-9]{{1,6}})?(Z|[+-]{_CLOCK})"'

# Each makes of a field's JSON text (strings in quotes) its value, or NULL where there is any doubt.
_MACROS = f"""
CREATE TEMP MACRO inside(x) AS (CAST(x AS VARCHAR))[2:-2];
CREATE TEMP MACRO as_uuid(x) AS
  CASE WHEN regexp_full_match(x, '{_UUID}') THEN unhex(replace(inside(x), '-', '')) END;
CREATE TEMP MACRO as_instant(x) AS
  CASE WHEN regexp_full_match(x, '{_INSTANT}') THEN TRY_CAST(inside(x) AS TIMESTAMPTZ) END;
CREATE TEMP MACRO as_date(x) AS
  CASE WHEN regexp_full_match(x, '"[12][0-9]{{3}}-{_DAY}"') THEN TRY_CAST(inside(x) AS DATE) END;
CREATE TEMP MACRO as_count(x) AS CASE WHEN regexp_full_match(x, '0|[1-9][0-9]{{0,8}}') THEN CAST(x AS INTEGER) END;
CREATE TEMP MACRO as_money(x) AS CASE WHEN regexp_full_match(x, '0|[1-9][0-9]{{0,14}}') THEN CAST(x AS BIGINT) END;
CREATE TEMP MACRO as_signed_money(x) AS
  CASE WHEN regexp_full_match(x, '0|-?[1-9][0-9]{{0,14}}') THEN CAST(x AS BIGINT) END;
CREATE TEMP MACRO as_currency(x) AS CASE WHEN regexp_full_match(x, '"[A-Z]{{3}}"') THEN inside(x) END;
CREATE TEMP MACRO as_place(x) AS CASE WHEN regexp_full_match(x, '"[A-Z]{{3}}"') THEN inside(x) END;
CREATE TEMP MACRO as_country(x) AS CASE WHEN regexp_full_match(x, '"[A-Z]{{2}}"') THEN inside(x) END;
CREATE TEMP MACRO as_flag(x) AS CASE x WHEN 'true' THEN true WHEN 'false' THEN false END;
CREATE TEMP MACRO as_id(x) AS
  CASE WHEN starts_with(x, '"') AND strlen(x) BETWEEN 3 AND {MAX_ID + 2} THEN inside(x) END;
CREATE TEMP MACRO as_text(x) AS CASE WHEN starts_with(x, '"') AND strlen(x) <= {MAX_TEXT + 2} THEN inside(x) END;
CREATE TEMP MACRO has(x) AS CAST(x IS NOT NULL AS INTEGER);
"""

_ROUTE = """
CREATE OR REPLACE TEMP TABLE routed AS
SELECT ordinal, json, TRY(json ->> '$.event_type') AS event_type FROM lines
"""
_MANY = "SELECT event_type FROM routed GROUP BY event_type HAVING count(*) > $1"


def prepare(connection: duckdb.DuckDBPyConnection) -> None:
    """Give a connection what `route` and `statement` need, once."""
    connection.execute(_MACROS)


def route(connection: duckdb.DuckDBPyConnection, texts: pa.Table) -> set[str]:
    """Make the table `routed` of `texts` (`ordinal`, `json`); names of the event types that are worth a `statement`."""
    if len(texts) <= FEW:
        return set()
    connection.register("lines", texts)
    connection.execute(_ROUTE)
    connection.unregister("lines")
    return {name for (name,) in connection.execute(_MANY, [FEW]).fetchall()}


@functools.cache
def statement(contract: EventType) -> str:
    """SQL that types one event type's lines of `routed`: `ordinal`, the contract's Arrow schema, `accepted`.

    Only rows that are `accepted` are to be believed. It is a column and no filter: DuckDB would push the filter down
    and compute every value twice. DuckDB's JSON allows a comma before the closing brace and keeps quiet about repeated
    and unknown keys, hence `whole`.
    """
    fields = contract.fields
    names = ["event_type", *contract.by_name]
    shape = ", ".join(f'"{n}":"JSON"' for n in names)
    texts = [f.name for f in fields if f.kind in {Kind.ID, Kind.TEXT}]
    return f"""
SELECT ordinal, {", ".join(map(_defaulted, fields))}, CAST(NULL AS VARCHAR) AS extra,
  whole AND given = {_has(f.name for f in fields)}
    AND {" AND ".join(f"{f.name} IS NOT NULL" for f in fields if f.required)} AS accepted
FROM (
  SELECT ordinal, {", ".join(f"{_typed(f)} AS {f.name}" for f in fields)},
    {_has(f.name for f in fields)} AS given,
    coalesce(
      regexp_full_match(schema_version, '"{contract.version.split("-")[0]}-[0-9]+-[0-9]+"')
      AND NOT regexp_matches(json, ',\\s*\\}}\\s*$')
      AND CASE WHEN contains(json, '\\') THEN NOT contains(concat({", ".join(texts)}), '\\') ELSE true END
      AND CASE WHEN len(json_keys(json)) = {_has(names)} THEN true
        ELSE list_has_all({names}, json_keys(json)) AND list_unique(json_keys(json)) = len(json_keys(json)) END,
      false) AS whole
  FROM (SELECT ordinal, json, unnest(TRY(json_transform(json, '{{{shape}}}')))
        FROM routed WHERE event_type = '{contract.name}'))
"""  # noqa: S608  # identifiers come from the contracts


def _has(names: Iterable[str]) -> str:
    return " + ".join(f"has({name})" for name in names)


def _defaulted(field: Field) -> str:
    return field.name if field.default is None else f"coalesce({field.name}, {field.default}) AS {field.name}"


def _typed(field: Field) -> str:
    if field.kind is Kind.CHOICE:
        choices = ", ".join(f"'\"{c}\"'" for c in field.choices)
        return f"CASE WHEN {field.name} IN ({choices}) THEN inside({field.name}) END"
    return f"as_{'signed_' if field.signed else ''}{field.kind.value}({field.name})"
