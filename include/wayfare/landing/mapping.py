"""Foreign rows to events, as a TOML file declares it.

    source = "import:hotel"              # the events' source, unless a field says otherwise
    namespace = "622ad0e3-..."           # a UUID; event_id = UUIDv5(namespace, "<type>/<key>")
    absent = ["NULL"]                    # texts that mean absent, beside an empty cell
    [lookups.market]                     # see wayfare.landing.mapping_lookups
    [values]                             # named values, each may use those before it
    nights = {sum = ["{weekend}", "{week}"]}
    [common]                             # fields of every event below
    channel = "{channel}"
    [[events]]                           # each row gives one event of every entry whose `when` holds
    type = "booking"
    key = "{row}"
    when = {status = "Booked"}
    fields.price = {money = "{adr}", currency = "EUR"}

Values are described in `wayfare.landing.mapping_expressions`. A field the contract does not know goes to `extra`.
"""

# ruff: noqa: S608 - by the time SQL is put together, what the mapping says is a literal or a generated name

from __future__ import annotations

import tomllib
import uuid
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wayfare.contracts import EVENT_TYPES, EventType, Kind, reference
from wayfare.errors import DeclarationError
from wayfare.landing.mapping_expressions import Scope, compile_condition, compile_value
from wayfare.landing.mapping_lookups import lookup_table
from wayfare.landing.mapping_values import (
    Check,
    Expression,
    Mistake,
    as_date,
    as_flag,
    as_instant,
    as_text,
    as_whole,
    at,
    literal,
    nearest,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb
    import pyarrow as pa

_KEYS = ("source", "namespace", "absent", "lookups", "values", "common", "events")
_EVENT_KEYS = ("type", "key", "when", "fields")
_CONVERT = {Kind.INSTANT: as_instant, Kind.DATE: as_date, Kind.COUNT: as_whole, Kind.FLAG: as_flag}


@dataclass(frozen=True, slots=True)
class Failure:
    """A row that the mapping could not turn into its events; none of them is landed."""

    line: int
    reason: str
    field: str
    message: str


@dataclass(frozen=True, slots=True)
class _Event:
    when: str
    json: str
    checks: tuple[tuple[str, Check], ...]


class Mapping:
    """A mapping file, compiled for the columns of one data file.

    Parameters
    ----------
    file
        A TOML file, or the name of a mapping that ships with Wayfare.
    header
        Column names of the data, in order.

    Raises
    ------
    DeclarationError
        The file is wrong; the message names the key and what to write instead.
    """

    def __init__(self, file: str, header: Sequence[str]) -> None:
        self.file = file
        self.header = tuple(header)
        self.lookups: dict[str, pa.Table] = {}
        try:
            self._compile(_read(file))
        except Mistake as mistake:
            place = ".".join((file, *mistake.where)) if not mistake.where else f"{file}: {'.'.join(mistake.where)}"
            raise DeclarationError(f"{place}: {mistake.says}") from None

    def _compile(self, spec: dict[str, Any]) -> None:
        _known(spec, _KEYS, ("source", "namespace", "events"))
        absent = ", ".join(literal(str(a)) for a in ["", *spec.get("absent", [])])
        self._row = [f"CASE WHEN c{i} NOT IN ({absent}) THEN c{i} END AS n{i}" for i in range(len(self.header))]
        names = {name: Expression(f"n{i}", "text", name) for i, name in enumerate(self.header)}
        for name, lookup in spec.get("lookups", {}).items():
            with at("lookups"), at(name):
                self.lookups[name] = lookup_table(lookup)
        scope = Scope(names, {name: f"lookup_{i}" for i, name in enumerate(self.lookups)})
        self._values = self._compile_values(scope, spec.get("values", {}))
        self._events = []
        seen: set[tuple[Any, Any]] = set()
        for index, event in enumerate(spec["events"]):
            with at(f"events[{index}]"):
                self._events.append(_compile_event(scope, spec, event))
                if (event["type"], event["key"]) in seen:
                    raise Mistake(f"another {event['type']} has the key {event['key']!r}; add what tells them apart")
                seen.add((event["type"], event["key"]))
        self._checks = list(dict.fromkeys(check for event in self._events for _, check in event.checks))

    def _compile_values(self, scope: Scope, values: dict[str, Any]) -> list[str]:
        """SQL of each named value; from then on it is known as column v<n>."""
        columns = []
        for index, (name, spec) in enumerate(values.items()):
            with at("values"), at(name):
                if name in scope.names:
                    raise Mistake("a column has this name; give the value another")
                value = compile_value(scope, spec)
            columns.append(f"{value.sql} AS v{index}")
            scope.names[name] = Expression(f"v{index}", value.type, f"{name} ({value.label})", value.checks)
        return columns

    def prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Give `connection` the relations that the mapping reads."""
        reference.register(connection)
        for index, table in enumerate(self.lookups.values()):
            connection.register(f"lookup_{index}", table)

    def apply(self, connection: duckdb.DuckDBPyConnection, rows: pa.Table) -> tuple[pa.Table, list[Failure]]:
        """Map a block of rows.

        Parameters
        ----------
        connection
            One that `prepare` was called with.
        rows
            Columns `line` (int64) and c0, c1, ... (text), one per column of the header.

        Returns
        -------
        tuple
            The events (`line`, `json` as a producer would write it), in order of line; and the rows that failed.
        """
        connection.register("source_rows", rows)
        connection.execute(f"CREATE OR REPLACE TEMP TABLE mapped AS {self._mapped()}")
        connection.unregister("source_rows")
        failed = connection.sql("SELECT line, failed, shown FROM mapped WHERE failed IS NOT NULL ORDER BY line")
        failures = [_failure(line, self._checks[index], shown) for line, index, shown in failed.fetchall()]
        events = " UNION ALL ".join(
            f"SELECT line, {index} AS turn, {event.json} AS json FROM mapped WHERE failed IS NULL AND {event.when}"
            for index, event in enumerate(self._events)
        )
        return connection.sql(f"SELECT line, json FROM ({events}) ORDER BY line, turn").to_arrow_table(), failures

    def _mapped(self) -> str:
        sql = f"SELECT line, {', '.join(self._row)} FROM source_rows"
        for value in self._values:
            sql = f"SELECT *, {value} FROM ({sql})"
        causes: dict[Check, list[str]] = {check: [] for check in self._checks}
        for event in self._events:
            for when, check in event.checks:
                causes[check].append(when)
        tests = [
            f"WHEN ({' OR '.join(dict.fromkeys(whens))}) AND ({check.fails}) THEN {index}"
            for index, (check, whens) in enumerate(causes.items())
        ]
        shown = [f"WHEN {index} THEN {check.value}" for index, check in enumerate(self._checks)]
        sql = f"SELECT *, CASE {' '.join(tests)} ELSE NULL END AS failed FROM ({sql})"
        return f"SELECT *, CASE failed {' '.join(shown)} ELSE NULL END AS shown FROM ({sql})"


def _read(file: str) -> dict[str, Any]:
    shipped = resources.files("wayfare.mappings") / f"{file}.toml"
    path = Path(file)
    try:
        return tomllib.loads((path if path.is_file() else shipped).read_text(encoding="utf-8"))
    except FileNotFoundError:
        names = [p.name.removesuffix(".toml") for p in resources.files("wayfare.mappings").iterdir()]
        raise Mistake(f"is neither a file nor a mapping that ships{nearest(file, names)}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Mistake(f"is not TOML: {error}") from None


def _known(spec: Any, keys: Sequence[str], required: Sequence[str]) -> None:
    if not isinstance(spec, dict):
        raise Mistake("needs to be a table")
    for key in spec:
        if key not in keys:
            raise Mistake(f"unknown key {key!r}{nearest(key, keys)}")
    for key in required:
        if key not in spec:
            raise Mistake(f"{key!r} is missing")


def _compile_event(scope: Scope, spec: dict[str, Any], event: Any) -> _Event:
    _known(event, _EVENT_KEYS, ("type", "key", "fields"))
    if event["type"] not in EVENT_TYPES:
        raise Mistake(f"no event type is called {event['type']!r}{nearest(event['type'], EVENT_TYPES)}")
    event_type = EVENT_TYPES[event["type"]]
    with at("when"):
        condition = compile_condition(scope, event["when"]) if "when" in event else Expression("true", "flag", "")
    with at("key"):
        key = as_text(compile_value(scope, event["key"]))
    fields = {
        "source": spec["source"],
        "schema_version": event_type.version,
        **spec.get("common", {}),
        **event["fields"],
    }
    members = {"event_type": literal(event_type.name), "event_id": _event_id(spec["namespace"], event_type.name, key)}
    checks = [("true", check) for check in condition.checks]
    checks += [(condition.sql, check) for check in (*key.checks, _missing(key, event_type, "key"))]
    for name, value in fields.items():
        with at("fields"), at(name):
            compiled = compile_value(scope, value)
            field = event_type.by_name.get(name)
            if field is not None:
                compiled = _converted(compiled, field.kind)
            members[name] = _json(compiled)
        checks += [(condition.sql, check) for check in compiled.checks]
        if field is not None and field.required:
            checks.append((condition.sql, _missing(compiled, event_type, name)))
    pairs = ", ".join(f"{literal(name)}, {sql}" for name, sql in members.items())
    # A merge patch leaves out what is absent.
    return _Event(condition.sql, f"CAST(json_merge_patch('{{}}', json_object({pairs})) AS VARCHAR)", tuple(checks))


def _converted(value: Expression, kind: Kind) -> Expression:
    if kind is Kind.UUID:
        raise Mistake("event ids come from `key`; leave this field out")
    if kind is Kind.MONEY and value.type != "whole":
        raise Mistake('an amount is whole minor units; write {money = ..., currency = "..."}')
    return _CONVERT.get(kind, as_text)(value) if kind is not Kind.MONEY else value


def _missing(value: Expression, event_type: EventType, name: str) -> Check:
    says = f"is absent, but {name} of a {event_type.name} needs it"
    return Check(f"{value.sql} IS NULL", "NULL", "missing", value.label, says)


def _event_id(namespace: Any, name: str, key: Expression) -> str:
    """SQL of UUIDv5(namespace, "<type>/<key>")."""
    try:
        space = uuid.UUID(namespace).hex
    except (ValueError, AttributeError, TypeError):
        raise Mistake(f"namespace {namespace!r} is not a UUID") from None
    digest = f"sha1(unhex('{space}') || encode({literal(name + '/')} || {key.sql}))"
    variant = f"translate({digest}[17:17], '0123456789abcdef', '89ab89ab89ab89ab')"
    return f"CAST(CAST({digest}[1:12] || '5' || {digest}[14:16] || {variant} || {digest}[18:32] AS UUID) AS VARCHAR)"


def _json(value: Expression) -> str:
    """SQL of what json_object writes for a value."""
    if value.type == "instant":
        return f"strftime({value.sql}, '%Y-%m-%dT%H:%M:%S.%fZ')"
    return f"CAST({value.text} AS JSON)" if value.type in {"number", "whole", "flag"} else value.text


def _failure(line: int, check: Check, shown: str | None) -> Failure:
    value = "" if shown is None else f" {shown!r}"
    return Failure(line, check.reason, check.label, f"line {line}, {check.label}{value}: {check.says}")
