"""Operations on numbers: exact decimals, and money in minor units."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from wayfare.contracts.reference import currencies
from wayfare.duck import literal
from wayfare.errors import nearest
from wayfare.landing.mapping.scope import Operation, Scope
from wayfare.landing.mapping.values import (
    DECIMAL,
    Check,
    Expression,
    Mistake,
    as_number,
    as_whole,
    checks_of,
    decimal_of,
    derived,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST = "9e18"
"""Minor units that a BIGINT holds, rounded down."""


def _number(scope: Scope, spec: Mapping[str, Any]) -> Expression:
    of = scope.inner(spec, "number")
    point, thousands = str(spec.get("decimal", ".")), spec.get("thousands", "")
    if point not in {".", ","} or thousands == point or not isinstance(thousands, str):
        raise Mistake('decimal is "." or ",", and thousands is another mark')
    whole = "[0-9]+"
    if thousands:  # a mark that does not part groups is refused: 1.5 is not 15
        mark = re.escape(thousands)
        whole = f"([0-9]+|[0-9]{{1,3}}({mark}[0-9]{{2,3}})*{mark}[0-9]{{3}})"
    shape = literal(f"[+-]?{whole}({re.escape(point)}[0-9]+)?")
    plain = f"replace({of.text}, {literal(thousands)}, '')" if thousands else of.text
    plain = f"replace({plain}, ',', '.')" if point == "," else plain
    sql = decimal_of(plain)
    if "round" in spec:  # what a computer added up in binary, such as 96.30000000000001
        shape = literal(f"[+-]?{whole}({re.escape(point)}[0-9]+)?([eE][+-]?[0-9]{{1,2}})?")
        sql = f"round(TRY_CAST({plain} AS {DECIMAL}), {_digits(spec['round'])})"
        sql = f"CASE WHEN abs({sql}) < 1e15 THEN CAST({sql} AS {DECIMAL}) END"
    sql = f"CASE WHEN regexp_full_match({of.text}, {shape}) THEN {sql} END"
    return derived([of], sql, "number", "not_a_number", f"is not a number written with {point!r} and {thousands!r}")


def _digits(spec: Any) -> int:
    if isinstance(spec, bool) or not isinstance(spec, int) or not 0 <= spec <= 9:
        raise Mistake(f"round = {spec!r} is not a number of digits from 0 to 9")
    return spec


def _arithmetic(scope: Scope, parts: list[Expression], sql: str) -> Expression:
    result = scope.computed(sql)
    bounded = f"CASE WHEN abs({result}) < 1e15 THEN {result} END"
    return derived(parts, bounded, "number", "out_of_range", "give more digits than can be kept exactly")


def _sum(scope: Scope, spec: Mapping[str, Any]) -> Expression:
    parts = [as_number(part) for part in scope.items(spec, "sum")]
    return _arithmetic(scope, parts, f"({' + '.join(p.sql for p in parts)})")


def _two(scope: Scope, spec: Mapping[str, Any], key: str) -> list[Expression]:
    parts = [as_number(part) for part in scope.items(spec, key)]
    if len(parts) != 2:
        raise Mistake(f"{key!r} needs two values")
    return parts


def _difference(scope: Scope, spec: Mapping[str, Any]) -> Expression:
    parts = _two(scope, spec, "difference")
    return _arithmetic(scope, parts, f"({parts[0].sql} - {parts[1].sql})")


def _product(scope: Scope, spec: Mapping[str, Any]) -> Expression:
    parts = [as_number(part) for part in scope.items(spec, "product")]
    sql = parts[0].sql
    for part in parts[1:]:
        exact = scope.computed(f"CASE WHEN abs(CAST({sql} AS DOUBLE) * {part.sql}) < 1e15 THEN {sql} * {part.sql} END")
        sql = scope.computed(f"CASE WHEN {exact} = CAST({exact} AS {DECIMAL}) THEN CAST({exact} AS {DECIMAL}) END")
    return _arithmetic(scope, parts, sql)


def _quotient(scope: Scope, spec: Mapping[str, Any]) -> Expression:
    parts = _two(scope, spec, "quotient")
    # 15 digits before the point and 9 after it, times 10 ** 9, still fit a HUGEINT: divided as whole numbers.
    whole = [f"CAST({p.sql} * 1000000000 AS HUGEINT)" for p in parts]
    sign = f"sign({parts[0].sql}) * sign({parts[1].sql})"
    halved = f"(abs({whole[0]}) * 2000000000 + abs({whole[1]})) // (2 * abs({whole[1]}))"
    sql = f"CASE WHEN {parts[1].sql} <> 0 AND abs(CAST({parts[0].sql} AS DOUBLE) / {parts[1].sql}) < 1e15 "
    sql += f"THEN CAST({sign} * {halved} AS DECIMAL(38, 0)) * 0.000000001 END"
    return derived(parts, scope.computed(f"CAST({sql} AS {DECIMAL})"), "number", "out_of_range", "cannot be divided")


def _money(scope: Scope, spec: Mapping[str, Any]) -> Expression:
    of, currency = as_number(scope.inner(spec, "money")), scope.inner(spec, "currency")
    exponent, unknown = _exponent(currency)
    factor = f"CAST(10 ** {exponent} AS DECIMAL(5, 0))"
    minor = scope.computed(f"{of.sql} * {factor}")
    exact = "true" if spec.get("round") else f"{minor} = round({minor})"
    sql = f"CASE WHEN abs({minor}) < {_MOST} AND {exact} THEN CAST(round({minor}) AS BIGINT) END"
    says = "is finer than the currency's minor unit; give the money round = true if it may be rounded"
    fine = Check(
        f"{of.sql} IS NOT NULL AND {currency.sql} IS NOT NULL AND ({sql}) IS NULL", of.text, "too_fine", of.label, says
    )
    says = "comes to more minor units than can be kept; correct the amount or its currency at their source"
    much = Check(f"abs({minor}) >= {_MOST}", of.text, "out_of_range", of.label, says)
    return Expression(sql, "whole", of.label, checks_of([of, currency], *unknown, much, fine))


def _exponent(currency: Expression) -> tuple[str, tuple[Check, ...]]:
    """SQL of the digits of the minor unit, and the check that the currency is one."""
    known = dict(zip(*(column.to_pylist() for column in currencies().columns), strict=True))
    if currency.is_constant:
        code = currency.label
        if code not in known:
            raise Mistake(f"currency {code!r} is not in ISO 4217{nearest(code, known)}")
        return str(known[code]), ()
    sql = f"(SELECT c.exponent FROM reference_currency c WHERE c.currency = {currency.text})"  # noqa: S608 - compiled
    unknown = derived([currency], sql, "number", "unknown_currency", "is not an ISO 4217 currency")
    return sql, unknown.checks


OPERATIONS = {
    "number": Operation(_number, (), ("decimal", "thousands", "round")),
    "sum": Operation(_sum),
    "difference": Operation(_difference),
    "product": Operation(_product),
    "quotient": Operation(_quotient),
    "whole": Operation(lambda scope, spec: as_whole(scope.inner(spec, "whole"))),
    "money": Operation(_money, ("currency",), ("round",)),
}
