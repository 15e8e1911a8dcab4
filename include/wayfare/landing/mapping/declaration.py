"""A mapping file, compiled: the SQL that turns rows into events. docs/mappings.md describes the language.

Belongs here: the file as a whole. Does not: an entry of `[[events]]` (`events`); names, values and conditions
(`scope`); operations (`numbers`, `texts`, `times`); `[file]` (`layout`); `[lookups]` (`lookups`).
"""

# ruff: noqa: S608 - by the time SQL is put together, what the mapping says is a literal or a generated name

from __future__ import annotations

import tomllib
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wayfare.contracts import reference
from wayfare.errors import DeclarationError, nearest
from wayfare.landing.lines import Fault
from wayfare.landing.mapping import numbers, texts, times
from wayfare.landing.mapping.events import compile_event
from wayfare.landing.mapping.layout import Layout
from wayfare.landing.mapping.lookups import Lookup, lookup
from wayfare.landing.mapping.scope import Scope
from wayfare.landing.mapping.values import Check, Expression, Mistake, at, known_keys, present, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb
    import pyarrow as pa

_KEYS = ("source", "namespace", "absent", "when", "file", "lookups", "values", "common", "events")
_OPERATIONS = texts.OPERATIONS | numbers.OPERATIONS | times.OPERATIONS
_SHOWN = 80
"""Characters of a value that a message shows."""

_ORIGIN = {f"@{name}": Expression(f"at_{name}", "text", name) for name in ("line", "file", "folder")}


class Mapping:
    """A mapping file, compiled for the columns of one data file.

    Parameters
    ----------
    file
        A TOML file, or the name of a mapping that ships with Wayfare.
    header
        Column names of the data, in order.

    Attributes
    ----------
    columns
        Positions in the header of the columns that the mapping mentions; others are never read.

    Raises
    ------
    DeclarationError
        The file is wrong; the message names the key and what to write instead.
    """

    def __init__(self, file: str, header: Sequence[str]) -> None:
        self.file = file
        self.header = tuple(header)
        self._lookups: list[Lookup] = []
        with _declaring(file):
            self._compile(_read(file))

    def _compile(self, spec: dict[str, Any]) -> None:
        known_keys(spec, _KEYS, ("source", "namespace", "events"))
        names = {name: Expression(f"n{i}", "text", name) for i, name in enumerate(self.header)} | _ORIGIN
        absent = _absent(spec)
        lookups = {}
        for index, (name, declared) in enumerate(table(spec, "lookups").items()):
            with at("lookups"), at(name):
                self._lookups.append(lookup(declared, Path(self.file).parent, absent))
                lookups[name] = (f"lookup_{index}", self._lookups[-1].columns)
        scope = Scope(names, lookups, _OPERATIONS)
        _compile_values(scope, table(spec, "values"))
        self._events = []
        seen = set[str]()
        for index, event in enumerate(_listed(spec)):
            with at(f"events[{index}]"):
                self._events.append(compile_event(scope, spec, event))
                ids = repr((event["type"], event["key"]))
                if ids in seen:
                    raise Mistake(f"another {event['type']} has the key {event['key']!r}; add what makes them differ")
                seen.add(ids)
        self._computed = scope.columns
        self._checks = list(dict.fromkeys(check for event in self._events for _, check in event.checks))
        self.columns = tuple(i for i, name in enumerate(self.header) if name in scope.mentioned)
        self._row = [f"{present(f'c{i}', absent)} AS n{i}" for i in self.columns]

    def prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Give `connection` the relations that the mapping reads."""
        reference.register(connection)
        for index, found in enumerate(self._lookups):
            connection.register(f"lookup_{index}", found.table)

    def apply(self, connection: duckdb.DuckDBPyConnection, rows: pa.Table) -> tuple[pa.Table, dict[int, Fault]]:
        """Map a block of rows.

        Parameters
        ----------
        connection
            One that `prepare` was called with.
        rows
            Columns `line` (int64, each once), c<n> (text) for each n of `columns`, and `at_line`, `at_file`,
            `at_folder` (text), where the row comes from.

        Returns
        -------
        tuple
            The events (`line`, `json` as a producer would write it), in order of line; and, by line, what is wrong with
            each row that could not be turned into its events, none of which is among them.
        """
        connection.register("source_rows", rows)
        connection.execute(f"CREATE OR REPLACE TEMP TABLE mapped AS {self._mapped()}")
        connection.unregister("source_rows")
        failed = connection.sql(
            "SELECT line, at_line, failed, shown FROM mapped WHERE failed IS NOT NULL ORDER BY line"
        )
        faults = {line: _fault(self._checks[i], place, shown) for line, place, i, shown in failed.fetchall()}
        events = " UNION ALL ".join(
            f"SELECT line, {index} AS turn, {event.json} AS json FROM mapped WHERE failed IS NULL AND {event.when}"
            for index, event in enumerate(self._events)
        )
        return connection.sql(f"SELECT line, json FROM ({events}) ORDER BY line, turn").to_arrow_table(), faults

    def _mapped(self) -> str:
        sql = f"SELECT {', '.join(['line', *(origin.sql for origin in _ORIGIN.values()), *self._row])} FROM source_rows"
        for column in self._computed:
            sql = f"SELECT *, {column} FROM ({sql})"
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


def _compile_values(scope: Scope, values: dict[str, Any]) -> None:
    """Make each named value known to those after it."""
    for name, spec in values.items():
        with at("values"), at(name):
            if name in scope.names:
                raise Mistake("a column has this name; give the value another")
            value = scope.value(spec)
        column = scope.computed(value.sql)
        scope.names[name] = Expression(column, value.type, f"{name} ({value.label})", value.checks)


def _listed(spec: dict[str, Any]) -> list[Any]:
    if not isinstance(spec["events"], list) or not spec["events"]:
        raise Mistake("needs at least one [[events]]", ("events",))
    return spec["events"]


def _absent(spec: dict[str, Any]) -> list[str]:
    absent = spec.get("absent", [])
    if not isinstance(absent, list) or not all(type(text) in {str, int, float} for text in absent):
        raise Mistake(f'{absent!r} needs to be a list of texts, like ["NULL"]', ("absent",))
    return [str(text) for text in absent]


def layout(file: str) -> Layout:
    """How the files that a mapping reads are written; a `DeclarationError` where its `[file]` is wrong."""
    with _declaring(file):
        spec = _read(file)
        with at("file"):
            return Layout.declared(spec.get("file", {}))


@contextmanager
def _declaring(file: str) -> Iterator[None]:
    try:
        yield
    except Mistake as mistake:
        place = f"{file}: {'.'.join(mistake.where)}" if mistake.where else file
        raise DeclarationError(f"{place}: {mistake.says}") from None
    except RecursionError:
        raise DeclarationError(f"{file}: is nested too deeply") from None


def _read(file: str) -> dict[str, Any]:
    shipped = resources.files("wayfare.mappings") / f"{file}.toml"
    path = Path(file)
    try:
        spec = tomllib.loads((path if path.is_file() else shipped).read_text(encoding="utf-8-sig"))
        repr(spec)  # which fails where a number has more digits than a message can show
    except FileNotFoundError:
        found = (Path(p.name) for p in resources.files("wayfare.mappings").iterdir())
        names = [p.stem for p in found if p.suffix == ".toml"]
        raise Mistake(f"is neither a file nor a mapping that ships with Wayfare{nearest(file, names)}") from None
    except ValueError as error:
        raise Mistake(f"is not TOML: {error}") from None
    return spec


def _fault(check: Check, place: str, shown: str | None) -> Fault:
    subject = f"line {place}, {check.label}"
    plain = f"{subject}: {check.says}"
    if shown is None:
        return Fault(check.reason, plain, check.label, plain)
    quoted = repr(shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 3]}...")
    return Fault(check.reason, f"{subject} {quoted}: {check.says}", check.label, plain)
