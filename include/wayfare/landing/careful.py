"""The row path: one line at a time, for what the columnar path refuses; it yields the event or says what is wrong."""

from __future__ import annotations

import datetime as dt
import json
import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa

from wayfare.contracts import EventType, Field, Kind
from wayfare.contracts.model import MAX_COUNT, MAX_ID, MAX_MONEY, MAX_TEXT
from wayfare.errors import nearest
from wayfare.landing.lines import Fault, repeated

if TYPE_CHECKING:
    from collections.abc import Sequence

CANONICAL = msgspec.json.Encoder(order="deterministic", decimal_format="number")
_NUL_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_TO_MICROSECOND = re.compile(r"(\.[0-9]{6})[0-9]+")
_VERSION = re.compile(r"([0-9]+)-[0-9]+-[0-9]+")
_WANTED = {
    Kind.UUID: "a UUID like 0f8fad5b-d9cb-469f-a165-70867728950e",
    Kind.ID: f"text of 1 to {MAX_ID} characters",
    Kind.TEXT: f"text of at most {MAX_TEXT:,} characters",
    Kind.INSTANT: "an RFC 3339 instant with its offset, like 2026-03-29T08:15:00.250Z",
    Kind.DATE: "a date like 2026-03-29",
    Kind.COUNT: f"a whole number from 0 to {MAX_COUNT}",
    Kind.MONEY: "a whole number of minor units (cents) from 0 to 2^53",
    Kind.CURRENCY: "a currency code of three capital letters, like EUR",
    Kind.COUNTRY: "a country code of two capital letters, like PT",
    Kind.PLACE: "an IATA code of three capital letters, like LIS",
    Kind.FLAG: "true or false",
}
_WANTED_SIGNED = "a whole number of minor units (cents) from -2^53 to 2^53"
_UNFIT = (msgspec.ValidationError, UnicodeEncodeError)
"""What msgspec raises for a value that does not fit its field; the second for half of a surrogate pair."""


class Refused(Exception):  # noqa: N818  # it is an answer about one line, no error of the program
    """One line is not an event."""

    def __init__(self, fault: Fault, event: object = None) -> None:
        super().__init__(fault.message)
        self.fault = fault
        self.event = event


def _refused(reason: str, message: str, field: str | None = None) -> Refused:
    return Refused(Fault(reason, message, field))


class CarefulDecoder:
    """Decodes lines to the given contracts, the one of the event's type and major version."""

    def __init__(self, contracts: Sequence[EventType]) -> None:
        self._contracts = {(c.type, c.major): c for c in contracts}
        self._names = sorted({c.type for c in contracts})
        self._fields = {"event_type", *(name for c in contracts for name in c.by_name)}

    def decode(self, text: str) -> tuple[EventType, tuple[Any, ...]]:
        """The event's contract and its values in the order of the contract's Arrow schema.

        Raises
        ------
        Refused
            The line is not an event; says why.
        """
        event, twice = _parse(text)
        if not isinstance(event, dict):
            raise _refused(
                "not_an_object", "the line is JSON but not an object; an event is one object, and each line one event"
            )
        if twice is not None:
            raise Refused(self._duplicate(twice), event)
        try:
            contract = self._contract(event)
            return contract, _values(contract, event)
        except Refused as refused:
            raise Refused(refused.fault, event) from None

    def _duplicate(self, name: str) -> Fault:
        """The fault of a name that is written twice; one that no contract knows may be a value, like a customer's."""
        says = "is written more than once; keep one"
        if name in self._fields:
            return Fault("duplicate_key", f"{name} {says}", name)
        return Fault("duplicate_key", f"{_shown(name)} {says}", plain=f"a field that no contract knows {says}")

    def _contract(self, event: dict[str, Any]) -> EventType:
        name, version = event.get("event_type"), event.get("schema_version")
        if name is None:
            raise _refused("missing_field", "event_type is missing", "event_type")
        if name not in self._names:
            raise Refused(about("event_type", name, "unknown_type", f"is unknown{nearest(name, self._names)}"))
        if version is None:
            raise _refused("missing_field", "schema_version is missing; write 1-0-0", "schema_version")
        major = _VERSION.fullmatch(version) if isinstance(version, str) else None
        contract = self._contracts.get((name, major.group(1))) if major else None
        if contract is None:
            known = ", ".join(c.version for (n, _), c in self._contracts.items() if n == name)
            says = f"is not a version of {name} that landing knows; it knows {known}"
            raise Refused(about("schema_version", version, "unknown_version", says))
        return contract


def about(field: str, value: object, reason: str, says: str) -> Fault:
    """The fault of a field's value; `says` completes the sentence "<field> <value> ..."."""
    return Fault(reason, f"{field} {_shown(value)} {says}", field, f"{field} {says}")


def _shown(value: object) -> str:
    """A value as messages show it: JSON, at most 80 characters."""
    text = ascii(value) if isinstance(value, (dict, list)) else json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def typed_schema(contract: EventType) -> pa.Schema:
    """Schema of typed events: the `ordinal` of their line, and the contract's Arrow schema."""
    return contract.arrow_schema.insert(0, pa.field("ordinal", pa.int64(), nullable=False))


def to_table(contract: EventType, rows: list[tuple[Any, ...]]) -> pa.Table:
    """Rows of (ordinal, *values) as typed events."""
    schema = typed_schema(contract)
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)


def _parse(text: str) -> tuple[object, str | None]:
    """What the line says, and a name that one of its objects gives twice."""
    twice = list[str]()

    def made(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) != len(pairs):
            twice.extend(repeated(name for name, _ in pairs))
        return fields

    try:
        event = json.loads(
            text, object_pairs_hook=made, parse_constant=_no_constant, parse_float=Decimal, parse_int=_integer
        )
    except json.JSONDecodeError as error:
        raise _refused("bad_json", f"the line is not JSON at character {error.pos + 1}: {error.msg}") from None
    except InvalidOperation:
        raise _refused("bad_json", "the line holds a number too large to keep") from None
    except RecursionError:
        raise _refused("bad_json", "the line is nested too deeply") from None
    return event, twice[0] if twice else None


def _no_constant(name: str) -> object:
    raise _refused("bad_json", f"the line holds {name}, which is not JSON")


def _integer(digits: str) -> int | Decimal:
    return int(digits) if len(digits) < 20 else Decimal(digits)


def _values(contract: EventType, event: dict[str, Any]) -> tuple[Any, ...]:
    known = {n: _whole(contract.by_name[n], v) for n, v in event.items() if n in contract.by_name and v is not None}
    unknown = {n: v for n, v in event.items() if n not in contract.by_name and n != "event_type"}
    instants = {n: _cut(v) for n, v in known.items() if contract.by_name[n].kind is Kind.INSTANT}
    try:
        struct = msgspec.convert({"event_type": contract.type, **known, **instants}, contract.struct)
    except _UNFIT as error:
        raise Refused(_field_fault(contract, known) or Fault("bad_event", str(error))) from None
    values = [_stored(f, getattr(struct, f.name)) for f in contract.fields]
    return (*values, _extra(unknown))


def _whole(field: Field, value: object) -> object:
    """A number that is whole though it is written 2.0, as pandas writes counts of which one is missing."""
    if field.kind not in {Kind.COUNT, Kind.MONEY} or not isinstance(value, Decimal):
        return value
    is_whole = -MAX_MONEY <= value <= MAX_MONEY and value == value.to_integral_value()
    return int(value) if is_whole else value


def _cut(instant: object) -> object:
    """An instant to the microsecond, as Parquet's are read: msgspec would round it, and make the event another one."""
    return _TO_MICROSECOND.sub(r"\1", instant, count=1) if isinstance(instant, str) else instant


def _field_fault(contract: EventType, known: dict[str, Any]) -> Fault | None:
    for field in contract.fields:
        if field.name not in known:
            if field.required:
                return Fault("missing_field", f"{field.name} is missing; {field.doc}", field.name)
            continue
        try:
            msgspec.convert(known[field.name], field.python)
        except _UNFIT:
            return _bad(field, known[field.name])
    return None


def _bad(field: Field, value: object) -> Fault:
    wanted = _WANTED_SIGNED if field.signed else _WANTED.get(field.kind) or "one of " + ", ".join(field.choices)
    return about(field.name, value, f"bad_{field.kind.value}", f"is not {wanted}")


def _stored(field: Field, value: Any) -> Any:
    """The value as Arrow takes it; refuses text that PostgreSQL cannot hold."""
    if isinstance(value, str):
        if "\0" in value:
            message = f"{field.name} holds a NUL character, which cannot be stored; leave it out"
            raise _refused("nul_character", message, field.name)
        if not value.isascii():
            _checked_unicode(field.name, value)
    elif field.kind is Kind.UUID and value is not None:
        return value.bytes
    elif field.kind is Kind.INSTANT and value is not None:
        try:
            return value.astimezone(dt.UTC)
        except OverflowError:
            raise Refused(_bad(field, str(value))) from None
    return value


def _checked_unicode(name: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        message = f"{name} holds half of a surrogate pair, which is not a character"
        raise _refused("bad_unicode", message, name) from None


def _extra(unknown: dict[str, Any]) -> str | None:
    """Canonical JSON (sorted keys) of the fields that the contract does not know."""
    if not unknown:
        return None
    try:
        text = CANONICAL.encode(unknown)
    except UnicodeEncodeError:
        message = "a field the contract does not know holds half of a surrogate pair, which is not a character"
        raise _refused("bad_unicode", message) from None
    if _NUL_ESCAPE.search(text):
        raise _refused("nul_character", "a field the contract does not know holds a NUL character; leave it out")
    return text.decode()
