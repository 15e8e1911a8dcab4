"""What a mapping computes with: SQL expressions of a known type that carry what must hold for them to be right."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from wayfare.duck import literal
from wayfare.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Type = Literal["text", "number", "whole", "date", "instant", "flag"]

DECIMAL = "DECIMAL(38, 9)"
NUMBER = r"[+-]?[0-9]{1,15}(\.[0-9]{1,9}0*)?"
DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
INSTANT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]+(Z|[+-][0-9]{2}(:?[0-9]{2})?)"


class Mistake(Exception):  # noqa: N818 - becomes a DeclarationError once file and place are known
    """A fault of the mapping; `where` is the path of keys to it, filled in by `at` on the way out."""

    def __init__(self, says: str, where: tuple[str, ...] = ()) -> None:
        super().__init__(says)
        self.says = says
        self.where = where


@contextlib.contextmanager
def at(key: str) -> Iterator[None]:
    """Name the key that a mistake inside was found under."""
    try:
        yield
    except Mistake as mistake:
        raise Mistake(mistake.says, (key, *mistake.where)) from None


def present(sql: str, absent: Iterable[str]) -> str:
    """SQL of text without blanks around it, no-break spaces included; NULL where it is empty or a text of `absent`."""
    trimmed = f"trim({sql}, ' \t\r\n\u00a0')"
    return f"CASE WHEN {trimmed} NOT IN ({', '.join(map(literal, ['', *absent]))}) THEN {trimmed} END"


def known_keys(spec: Any, keys: Sequence[str], required: Sequence[str]) -> None:
    """Refuse a table of the mapping that has other keys, or lacks one of the required ones."""
    if not isinstance(spec, dict):
        raise Mistake("needs to be a table")
    for key in spec:
        if key not in keys:
            raise Mistake(f"unknown key {key!r}{nearest(key, keys)}")
    for key in required:
        if key not in spec:
            raise Mistake(f"{key!r} is missing")


def table(spec: dict[str, Any], key: str) -> dict[str, Any]:
    """The table under a key of the mapping, empty where there is none."""
    found = spec.get(key, {})
    if not isinstance(found, dict):
        raise Mistake("needs to be a table", (key,))
    return found


@dataclass(frozen=True, slots=True)
class Check:
    """One way a row can be wrong: where `fails` (SQL) holds, `label` shows `value` (SQL) and `says` what to do."""

    fails: str
    value: str
    reason: str
    label: str
    says: str


@dataclass(frozen=True, slots=True)
class Expression:
    """SQL over a row's columns and named values; `label` is what a person knows it by."""

    sql: str
    type: Type
    label: str
    checks: tuple[Check, ...] = ()
    is_constant: bool = False

    @property
    def text(self) -> str:
        """SQL of the value as text; a number without trailing zeros."""
        if self.type == "text":
            return self.sql
        if self.type == "number":
            return f"rtrim(rtrim(CAST({self.sql} AS VARCHAR), '0'), '.')"
        return f"CAST({self.sql} AS VARCHAR)"


def checks_of(parts: Iterable[Expression], *own: Check) -> tuple[Check, ...]:
    """The checks of all parts, each once, then a value's own."""
    return tuple(dict.fromkeys([*(c for part in parts for c in part.checks), *own]))


def guarded(check: Check, condition: str) -> Check:
    """The check where `condition` (SQL) holds."""
    return replace(check, fails=f"{condition} AND ({check.fails})")


def label_of(parts: Iterable[Expression]) -> str:
    """The labels of all parts, each once."""
    return ", ".join(dict.fromkeys(part.label for part in parts))


def derived(parts: list[Expression], sql: str, type_: Type, reason: str, says: str) -> Expression:
    """A value computed from `parts`: NULL although all of them are present means that `says` is what went wrong."""
    present = " AND ".join(f"{p.sql} IS NOT NULL" for p in parts)
    shown = parts[0].text if len(parts) == 1 else f"concat_ws(', ', {', '.join(p.text for p in parts)})"
    check = Check(f"{present} AND ({sql}) IS NULL", shown, reason, label_of(parts), says)
    return Expression(sql, type_, label_of(parts), checks_of(parts, check))


def read_as(kind: str, text: str, written: str) -> str:
    """SQL of text as a SQL type; NULL where it is not `written` (a regular expression) so, or no such value."""
    return f"CASE WHEN regexp_full_match({text}, '{written}') THEN TRY_CAST({text} AS {kind}) END"


def decimal_of(sql: str) -> str:
    """SQL that reads text as an exact decimal; NULL where it is not one."""
    return read_as(DECIMAL, sql, NUMBER)


def _only_from_text(of: Expression, wanted: str) -> None:
    if of.type != "text":
        raise Mistake(f"{of.label} is {_A[of.type]}, not {wanted}")


_A: dict[Type, str] = {
    "text": "text",
    "number": "a number",
    "whole": "a whole number",
    "date": "a date",
    "instant": "an instant",
    "flag": "true or false",
}


def as_number(of: Expression) -> Expression:
    """`of` as an exact decimal, at most 15 digits before and 9 after the point."""
    if of.type == "number":
        return of
    if of.type == "whole":
        return replace(of, sql=f"CAST({of.sql} AS {DECIMAL})", type="number")
    _only_from_text(of, "a number")
    says = "is not a number like 1234.56; over nine decimals, or other marks, are read by {number = ...}"
    return derived([of], decimal_of(of.sql), "number", "not_a_number", says)


def as_whole(of: Expression) -> Expression:
    """`of` as a BIGINT; a fraction is an error."""
    if of.type == "whole":
        return of
    number = as_number(of)
    sql = f"CASE WHEN {number.sql} = floor({number.sql}) THEN CAST({number.sql} AS BIGINT) END"
    return derived([number], sql, "whole", "not_whole", "is not a whole number")


def as_date(of: Expression) -> Expression:
    """`of` as a DATE; text is read as 2026-01-31."""
    if of.type == "date":
        return of
    _only_from_text(of, "a date")
    says = "is not a date like 2026-01-31; if dates are written another way, give the mapping their format"
    return derived([of], read_as("DATE", of.sql, DATE), "date", "not_a_date", says)


def as_instant(of: Expression) -> Expression:
    """`of` as a TIMESTAMPTZ; text is read as 2026-01-31T12:00:00Z or with an offset."""
    if of.type == "instant":
        return of
    _only_from_text(of, 'an instant; write {on = DATE, at = "12:00"}')
    says = "is not an instant like 2026-01-31T12:00:00Z; give the mapping its format and zone"
    return derived([of], read_as("TIMESTAMPTZ", of.sql, INSTANT), "instant", "not_an_instant", says)


def as_flag(of: Expression) -> Expression:
    """`of` as a BOOLEAN; text is true, t, yes, y, on or 1, or the opposite, in any case."""
    if of.type == "flag":
        return of
    _only_from_text(of, "true or false")
    words = ("true", "t", "yes", "y", "on", "1"), ("false", "f", "no", "n", "off", "0")
    true, false = (", ".join(map(literal, w)) for w in words)
    sql = f"CASE WHEN lower({of.sql}) IN ({true}) THEN true WHEN lower({of.sql}) IN ({false}) THEN false END"
    return derived([of], sql, "flag", "not_a_flag", "is neither true nor false; map it with a lookup")


def as_text(of: Expression) -> Expression:
    """`of` as text; empty text is absent."""
    return replace(of, sql=f"nullif({of.text}, '')", type="text")
