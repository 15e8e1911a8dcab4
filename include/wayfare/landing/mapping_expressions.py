"""The small language of a mapping's values, compiled to DuckDB SQL over columns of text.

A value is text with `{names}` of columns or named values (`"hotel:PT/{room}"`; `"{adr}"` alone keeps its type), a
number, true or false, or a table with one operation:

    {lookup = NAME, of = V, otherwise = V}    a lookup of the mapping; not found and no `otherwise`: an error
    {number = V, decimal = ",", thousands = "."}
    {sum = [V, ..]}  {difference = [V, V]}  {product = [V, ..]}          exact decimals
    {money = V, currency = V, round = true}   minor units; without `round` a fraction of one is an error
    {date = V, format = "%d/%m/%Y"}           without `format`: 2026-01-31
    {year = V, month = V, day = V}            month by number or English name
    {before = DATE, days = V}  {after = DATE, days = V}
    {on = DATE, at = "12:00", zone = "UTC"}   an instant, local to `zone`
    {instant = V, format = "...", zone = "UTC"}
    {first = [V, ..]}                         the first that is not absent
    {value = V, when = CONDITION}             absent unless the condition holds

A condition is a table of tests on names, all of which must hold: `{status = "Canceled"}`, `{status = ["A", "B"]}`,
`{status = {not = "A"}}`, `{nights = {above = 0}}`, `{nights = {below = 9}}`, `{agent = {present = false}}`; only
`present = false` holds for something absent. What comes of something absent is absent.

Whatever the mapping says enters SQL as an escaped literal or as the quoted name of a known column.
"""

# ruff: noqa: S608 - by the time SQL is put together, what the mapping says is a literal or a generated name

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from zoneinfo import available_timezones

import duckdb

from wayfare.contracts.reference import currencies
from wayfare.landing.mapping_values import (
    DECIMAL,
    Check,
    Expression,
    Mistake,
    as_date,
    as_instant,
    as_number,
    as_whole,
    at,
    checks_of,
    decimal_of,
    derived,
    label_of,
    literal,
    nearest,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MONTHS = [dt.date(2000, month, 1).strftime("%B").lower() for month in range(1, 13)]


@dataclass(frozen=True, slots=True)
class Scope:
    """What a value may name: columns and named values, and the relation (`key`, `value`) of each lookup."""

    names: dict[str, Expression]
    lookups: dict[str, str]

    def name(self, name: str) -> Expression:
        """The column or named value called `name`."""
        if name not in self.names:
            raise Mistake(f"no column or value is called {name!r}{nearest(name, self.names)}")
        return self.names[name]


def compile_value(scope: Scope, spec: Any) -> Expression:
    """Compile a value; a `Mistake` says what is wrong with it and where in it."""
    if isinstance(spec, bool):
        return Expression(str(spec).lower(), "flag", str(spec).lower())
    if isinstance(spec, (int, float)):
        return Expression(f"CAST({literal(str(spec))} AS {DECIMAL})", "number", str(spec))
    if isinstance(spec, str):
        return _template(scope, spec)
    if not isinstance(spec, dict):
        raise Mistake(f"{spec!r} is not a value; write text, a number, true, false or an operation")
    name = next((key for key in spec if key in _OPERATIONS), None)
    if name is None:
        wrong = next(iter(spec), "")
        raise Mistake(f"{wrong!r} is not an operation{nearest(wrong, _OPERATIONS)}")
    operation, required, optional = _OPERATIONS[name]
    for key in spec:
        if key not in {name, *required, *optional}:
            raise Mistake(f"{name!r} takes no {key!r}{nearest(key, [name, *required, *optional])}")
    for key in required:
        if key not in spec:
            raise Mistake(f"{name!r} needs {key!r}")
    return operation(scope, spec)


def compile_condition(scope: Scope, spec: Any) -> Expression:
    """Compile a condition to a flag that is never NULL."""
    if not isinstance(spec, dict) or not spec:
        raise Mistake('needs tests like {status = "Canceled"}')
    tests = []
    for name, test in spec.items():
        with at(name):
            tests.append(_test(scope, scope.name(name), test))
    return Expression(
        f"coalesce({' AND '.join(t.sql for t in tests)}, false)", "flag", label_of(tests), checks_of(tests)
    )


def _test(scope: Scope, of: Expression, test: Any) -> Expression:
    if not isinstance(test, dict):
        return _among(scope, of, test, "IN")
    if len(test) != 1:
        raise Mistake("takes one test: not, above, below or present")
    ((key, bound),) = test.items()
    if key == "present" and isinstance(bound, bool):
        return replace(of, sql=f"({of.sql} IS {'NOT ' if bound else ''}NULL)")
    if key == "not":
        return _among(scope, of, bound, "NOT IN")
    if key in {"above", "below"}:
        number, limit = as_number(of), as_number(compile_value(scope, bound))
        return replace(number, sql=f"({number.sql} {'>' if key == 'above' else '<'} {limit.sql})")
    raise Mistake(f"{key!r} is not a test{nearest(key, ('not', 'above', 'below', 'present'))}")


def _among(scope: Scope, of: Expression, choices: Any, operator: str) -> Expression:
    options = [compile_value(scope, c) for c in (choices if isinstance(choices, list) else [choices])]
    subject = as_number(of) if any(o.type == "number" for o in options) else of
    if not options or any(o.type != subject.type for o in options):
        raise Mistake(f"{choices!r} cannot equal {of.label}: its type is {of.type}")
    return replace(subject, sql=f"({subject.sql} {operator} ({', '.join(o.sql for o in options)}))")


def _template(scope: Scope, spec: str) -> Expression:
    parts = re.split(r"\{([^{}]*)\}", spec)
    if any("{" in text or "}" in text for text in parts[::2]):
        raise Mistake(f"{spec!r} has a brace without its partner")
    named = [scope.name(name) for name in parts[1::2]]
    if not named:
        return Expression(literal(spec), "text", spec, is_constant=True)
    if parts[0::2] == ["", ""]:
        return named[0]
    texts = [literal(text) for text in parts[::2]]
    pieces = [texts[0], *(p for pair in zip((n.text for n in named), texts[1:], strict=True) for p in pair)]
    return Expression(f"({' || '.join(pieces)})", "text", label_of(named), checks_of(named))


def _inner(scope: Scope, spec: Mapping[str, Any], key: str) -> Expression:
    with at(key):
        return compile_value(scope, spec[key])


def _list(scope: Scope, spec: Mapping[str, Any], key: str) -> list[Expression]:
    if not isinstance(spec[key], list) or not spec[key]:
        raise Mistake(f"{key!r} needs a list of values")
    with at(key):
        return [compile_value(scope, item) for item in spec[key]]


def _lookup(scope: Scope, spec: Mapping[str, Any]) -> Expression:
    table = spec["lookup"]
    if table not in scope.lookups:
        raise Mistake(f"no lookup is called {table!r}{nearest(table, scope.lookups)}")
    of = _inner(scope, spec, "of")
    found = f"(SELECT l.value FROM {scope.lookups[table]} l WHERE l.key = {of.text})"
    if "otherwise" not in spec:
        says = f"is not in lookup {table!r}; add it there, or give the lookup an `otherwise`"
        return derived([of], found, "text", "not_in_lookup", says)
    other = _inner(scope, spec, "otherwise")
    sql = f"CASE WHEN {of.sql} IS NOT NULL THEN coalesce({found}, {other.text}) END"
    return Expression(sql, "text", of.label, checks_of([of, other]))


def _number(scope: Scope, spec: Mapping[str, Any]) -> Expression:
    of = _inner(scope, spec, "number")
    point, thousands = spec.get("decimal", "."), spec.get("thousands", "")
    if point not in {".", ","} or thousands == point or not isinstance(thousands, str):
        raise Mistake('decimal is "." or ",", and thousands is another mark')
    plain = f"replace({of.text}, {literal(thousands)}, '')" if thousands else of.text
    sql = decimal_of(f"replace({plain}, ',', '.')" if point == "," else plain)
    return derived([of], sql, "number", "not_a_number", f"is not a number written with {point!r} and {thousands!r}")


def _arithmetic(parts: list[Expression], sql: str) -> Expression:
    bounded = f"CASE WHEN abs({sql}) < 1e15 THEN {sql} END"
    return derived(parts, bounded, "number", "out_of_range", "give more digits than can be kept exactly")


def _sum(scope: Scope, spec: Mapping[str, Any]) -> Expression:
    parts = [as_number(part) for part in _list(scope, spec, "sum")]
    return _arithmetic(parts, f"({' + '.join(p.sql for p in parts)})")


def _difference(scope: Scope, spec: Mapping[str, Any]) -> Expression:
    parts = [as_number(part) for part in _list(scope, spec, "difference")]
    if len(parts) != 2:
        raise Mistake("'difference' needs two values")
    return _arithmetic(parts, f"({parts[0].sql} - {parts[1].sql})")


def _product(scope: Scope, spec: Mapping[str, Any]) -> Expression:
    parts = [as_number(part) for part in _list(scope, spec, "product")]
    sql = parts[0].sql
    for part in parts[1:]:
        exact = f"CASE WHEN abs(CAST({sql} AS DOUBLE) * {part.sql}) < 1e15 THEN {sql} * {part.sql} END"
        sql = f"CASE WHEN {exact} = CAST({exact} AS {DECIMAL}) THEN CAST({exact} AS {DECIMAL}) END"
    return _arithmetic(parts, sql)


def _money(scope: Scope, spec: Mapping[str, Any]) -> Expression:
    of, currency = as_number(_inner(scope, spec, "money")), _inner(scope, spec, "currency")
    exponent, unknown = _exponent(currency)
    factor = f"CAST(10 ** {exponent} AS DECIMAL(5, 0))"
    rounded = f"CAST(round({of.sql} * {factor}) AS BIGINT)"
    exact = rounded if spec.get("round") else f"CASE WHEN {of.sql} * {factor} = {rounded} THEN {rounded} END"
    says = "is finer than the currency's minor unit; give the money round = true if it may be rounded"
    money = derived([of], exact, "whole", "too_fine", says)
    return replace(money, checks=(*checks_of([of, currency], *unknown), money.checks[-1]))


def _exponent(currency: Expression) -> tuple[str, tuple[Check, ...]]:
    """SQL of the digits of the minor unit, and the check that the currency is one."""
    known = dict(zip(*(column.to_pylist() for column in currencies().columns), strict=True))
    if currency.is_constant:
        code = currency.label
        if code not in known:
            raise Mistake(f"currency {code!r} is not in ISO 4217{nearest(code, known)}")
        return str(known[code]), ()
    sql = f"(SELECT c.exponent FROM reference_currency c WHERE c.currency = {currency.text})"
    unknown = derived([currency], sql, "number", "unknown_currency", "is not an ISO 4217 currency")
    return sql, unknown.checks


def _strptime(of: Expression, pattern: Any) -> str:
    try:
        with duckdb.connect() as scratch:
            scratch.execute("SELECT strftime(TIMESTAMP '2026-01-31', ?)", [str(pattern)]).fetchall()
    except duckdb.Error as error:
        raise Mistake(f"format {pattern!r} is not understood: {error}") from None
    return f"try_strptime({of.text}, {literal(str(pattern))})"


def _date(scope: Scope, spec: Mapping[str, Any]) -> Expression:
    of = _inner(scope, spec, "date")
    if "format" not in spec:
        return as_date(of)
    sql = f"CAST({_strptime(of, spec['format'])} AS DATE)"
    return derived([of], sql, "date", "not_a_date", f"is not a date written {spec['format']}")


def _year(scope: Scope, spec: Mapping[str, Any]) -> Expression:
    year, month, day = (_inner(scope, spec, key) for key in ("year", "month", "day"))
    positions = (f"list_position({[m[:n] for m in _MONTHS]}, lower({month.text}))" for n in (9, 3))
    number = f"coalesce(TRY_CAST({month.text} AS INTEGER), {', '.join(positions)})"
    padded = f"lpad({year.text}, 4, '0'), lpad(CAST({number} AS VARCHAR), 2, '0'), lpad({day.text}, 2, '0')"
    sql = f"TRY_CAST(concat_ws('-', {padded}) AS DATE)"
    return derived([year, month, day], sql, "date", "not_a_date", "is not a day of the calendar")


def _shifted(scope: Scope, spec: Mapping[str, Any], key: str, sign: str) -> Expression:
    start, days = as_date(_inner(scope, spec, key)), as_whole(_inner(scope, spec, "days"))
    sql = f"CASE WHEN abs({days.sql}) < 100000 THEN {start.sql} {sign} CAST({days.sql} AS INTEGER) END"
    return derived([start, days], sql, "date", "not_a_date", "are more than 99,999 days apart")


def _zone(spec: Mapping[str, Any]) -> str:
    zone = spec.get("zone", "UTC")
    if zone not in available_timezones():
        raise Mistake(f"zone {zone!r} is not an IANA time zone; write one like Europe/Lisbon")
    return literal(zone)


def _on(scope: Scope, spec: Mapping[str, Any]) -> Expression:
    day = as_date(_inner(scope, spec, "on"))
    try:
        time = dt.time.fromisoformat(spec["at"])
    except (TypeError, ValueError):
        raise Mistake(f'at = {spec["at"]!r} is not a time of day like "12:00"') from None
    return replace(day, sql=f"timezone({_zone(spec)}, {day.sql} + TIME '{time.isoformat()}')", type="instant")


def _instant(scope: Scope, spec: Mapping[str, Any]) -> Expression:
    of = _inner(scope, spec, "instant")
    if "format" not in spec:
        return as_instant(of)
    sql = f"timezone({_zone(spec)}, {_strptime(of, spec['format'])})"
    return derived([of], sql, "instant", "not_an_instant", f"is not an instant written {spec['format']}")


def _first(scope: Scope, spec: Mapping[str, Any]) -> Expression:
    parts = _list(scope, spec, "first")
    if len({p.type for p in parts}) > 1:
        raise Mistake(f"its values differ in type: {', '.join(p.type for p in parts)}")
    return Expression(f"coalesce({', '.join(p.sql for p in parts)})", parts[0].type, label_of(parts), checks_of(parts))


def _when(scope: Scope, spec: Mapping[str, Any]) -> Expression:
    of = _inner(scope, spec, "value")
    with at("when"):
        condition = compile_condition(scope, spec["when"])
    guarded = [replace(check, fails=f"{condition.sql} AND ({check.fails})") for check in of.checks]
    return replace(of, sql=f"CASE WHEN {condition.sql} THEN {of.sql} END", checks=(*condition.checks, *guarded))


_OPERATIONS: dict[str, tuple[Callable[[Scope, Mapping[str, Any]], Expression], tuple[str, ...], tuple[str, ...]]] = {
    "lookup": (_lookup, ("of",), ("otherwise",)),
    "number": (_number, (), ("decimal", "thousands")),
    "sum": (_sum, (), ()),
    "difference": (_difference, (), ()),
    "product": (_product, (), ()),
    "money": (_money, ("currency",), ("round",)),
    "year": (_year, ("month", "day"), ()),
    "before": (lambda scope, spec: _shifted(scope, spec, "before", "-"), ("days",), ()),
    "after": (lambda scope, spec: _shifted(scope, spec, "after", "+"), ("days",), ()),
    "on": (_on, ("at",), ("zone",)),
    "instant": (_instant, (), ("format", "zone")),
    "date": (_date, (), ("format",)),
    "first": (_first, (), ()),
    "value": (_when, ("when",), ()),
}
"""Each operation with the keys it needs and the keys it may have beside its own."""
