"""The columnar path: DuckDB types, in bulk, the lines about which there can be no doubt.

It accepts only flat JSON objects of known fields, each once, written in the plainest way; whatever else there is it
leaves to `careful`, which knows why. What both accept they give the same values.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from wayfare.contracts import EventType, Field, Kind
from wayfare.contracts.model import MAX_ID, MAX_TEXT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import duckdb

_HEX = "[0-9a-fA-F]"
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9]"
_DAY = "[0-9]{2}-[0-9]{2}"
_SIGN = "(sign)"
_PATTERNS = {
    Kind.UUID: (
        f'"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}"',
        "unhex(replace({text}, '-', ''))",
    ),
    Kind.INSTANT: (
        rf'"20[0-9]{{2}}-{_DAY}T{_CLOCK}:[0-5][0-9](\.[0-9]{{1,6}})?(Z|[+-]{_CLOCK})"',
        "TRY_CAST({text} AS TIMESTAMPTZ)",
    ),
    Kind.DATE: (f'"[12][0-9]{{3}}-{_DAY}"', "TRY_CAST({text} AS DATE)"),
    Kind.COUNT: ("0|[1-9][0-9]{0,8}", "CAST({raw} AS INTEGER)"),
    Kind.MONEY: (f"0|{_SIGN}[1-9][0-9]{{0,14}}", "CAST({raw} AS BIGINT)"),
    Kind.CURRENCY: ('"[A-Z]{3}"', "{text}"),
    Kind.COUNTRY: ('"[A-Z]{2}"', "{text}"),
    Kind.PLACE: ('"[A-Z]{3}"', "{text}"),
}

_TEXTS = {Kind.ID, Kind.TEXT}

_EVENT_TYPES = """
CREATE OR REPLACE TEMP TABLE routed AS
SELECT ordinal, json, TRY(json ->> '$.event_type') AS event_type FROM lines
"""


def accept(
    connection: duckdb.DuckDBPyConnection, texts: pa.Table, contracts: Sequence[EventType]
) -> dict[EventType, pa.Table]:
    """Type what can be typed of `texts` (`ordinal`, `json`): by contract, `ordinal` (int64) and its Arrow schema."""
    connection.register("lines", texts)
    connection.execute(_EVENT_TYPES)
    connection.unregister("lines")
    present = {name for (name,) in connection.execute("SELECT DISTINCT event_type FROM routed").fetchall()}
    return {contract: _accept(connection, contract) for contract in contracts if contract.name in present}


def typed_schema(contract: EventType) -> pa.Schema:
    """Schema of typed events: `ordinal`, their position among the lines, then the contract's own."""
    return contract.arrow_schema.insert(0, pa.field("ordinal", pa.int64(), nullable=False))


def _accept(connection: duckdb.DuckDBPyConnection, contract: EventType) -> pa.Table:
    table = connection.sql(statement(contract)).to_arrow_table()
    accepted = table["accepted"]
    if not pc.all(accepted).as_py():
        table = table.filter(accepted)
    table = table.drop_columns(["accepted"]).append_column("extra", pa.nulls(len(table), pa.string()))
    return table.cast(typed_schema(contract))


@functools.cache
def statement(contract: EventType) -> str:
    """SQL that types one event type's lines of `routed`; its column `accepted` says which rows to believe.

    `accepted` is a column and no filter: DuckDB would push the filter down and compute every value twice. DuckDB's
    JSON allows a comma before the closing brace and keeps quiet about repeated and unknown keys, hence `whole`.
    """
    fields = contract.fields
    names = ["event_type", *contract.by_name]
    shape = ", ".join(f'"{n}":"JSON"' for n in names)
    texts = [f'"{f.name}"' for f in fields if f.kind in _TEXTS]
    return f"""
SELECT ordinal,
  {_each(",", (_defaulted(f) for f in fields))},
  whole AND given = {_each(" +", (_one_if(f'"{f.name}" IS NOT NULL') for f in fields))}
  AND {_each(" AND", (f'"{f.name}" IS NOT NULL' for f in fields if f.required))} AS accepted
FROM (
SELECT ordinal,
  {_each(",", (f'{_typed(f)} AS "{f.name}"' for f in fields))},
  {_each(" +", (_one_if(f'"{f.name}" IS NOT NULL') for f in fields))} AS given,
  coalesce(regexp_full_match(schema_version, '"{contract.version.split("-")[0]}-[0-9]+-[0-9]+"')
  AND NOT regexp_matches(json, ',\\s*\\}}\\s*$')
  AND CASE WHEN contains(json, '\\') THEN NOT contains(concat({", ".join(texts)}), '\\') ELSE true END
  AND CASE WHEN len(json_keys(json)) = {_each(" +", (_one_if(f'"{n}" IS NOT NULL') for n in names))} THEN true
      ELSE list_has_all({names}, json_keys(json)) AND list_unique(json_keys(json)) = len(json_keys(json)) END,
  false) AS whole
FROM (SELECT ordinal, json, unnest(TRY(json_transform(json, '{{{shape}}}'))) FROM routed
      WHERE event_type = '{contract.name}'))
"""  # noqa: S608  # identifiers come from the contracts


def _each(separator: str, parts: Iterable[str]) -> str:
    return f"{separator}\n  ".join(parts)


def _one_if(condition: str) -> str:
    return f"CAST({condition} AS INTEGER)"


def _defaulted(field: Field) -> str:
    name = f'"{field.name}"'
    return name if field.default is None else f"coalesce({name}, {str(field.default).lower()}) AS {name}"


def _typed(field: Field) -> str:
    """SQL of a field's value out of its JSON text (strings in quotes), NULL where there is any doubt."""
    raw = f'CAST("{field.name}" AS VARCHAR)'
    text = f"substring({raw}, 2, strlen({raw}) - 2)"
    if field.kind is Kind.FLAG:
        return f"CASE {raw} WHEN 'true' THEN true WHEN 'false' THEN false END"
    if field.kind is Kind.CHOICE:
        choices = ", ".join(f"'\"{c}\"'" for c in field.choices)
        return f"CASE WHEN {raw} IN ({choices}) THEN {text} END"
    if field.kind in _TEXTS:
        least, most = (3, MAX_ID + 2) if field.kind is Kind.ID else (2, MAX_TEXT + 2)
        return f"CASE WHEN starts_with({raw}, '\"') AND strlen({raw}) BETWEEN {least} AND {most} THEN {text} END"
    pattern, value = _PATTERNS[field.kind]
    sign = "-?" if field.signed else ""
    value = value.format(raw=raw, text=text)
    return f"CASE WHEN regexp_full_match({raw}, '{pattern.replace(_SIGN, sign)}') THEN {value} END"
