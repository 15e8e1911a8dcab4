"""What a contract is made of, and what follows from it: Arrow schema, decoder, JSON Schema."""

from __future__ import annotations

import datetime as dt
import enum
import functools
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from wayfare.errors import DeclarationError

if TYPE_CHECKING:
    import pyarrow as pa

JSON_SCHEMA = "https://json-schema.org/draft/2020-12/schema"
MAX_ID = 200
MAX_TEXT = 2_000
MAX_COUNT = 2**31 - 1
MAX_MONEY = 2**53


class Kind(enum.Enum):
    """The kinds of value a field can hold; each fixes the type everywhere the field appears."""

    UUID = "uuid"
    ID = "id"
    TEXT = "text"
    CHOICE = "choice"
    INSTANT = "instant"
    DATE = "date"
    COUNT = "count"
    MONEY = "money"
    CURRENCY = "currency"
    COUNTRY = "country"
    PLACE = "place"
    FLAG = "flag"


def arrow_type(kind: Kind) -> pa.DataType:
    """Arrow type of a kind: 16 bytes for a UUID, UTC microseconds for an instant, int64 minor units for money."""
    import pyarrow as pa  # imported late: DAG parsing reads contracts and must stay light

    types = {
        Kind.UUID: pa.binary(16),
        Kind.INSTANT: pa.timestamp("us", "UTC"),
        Kind.DATE: pa.date32(),
        Kind.COUNT: pa.int32(),
        Kind.MONEY: pa.int64(),
        Kind.FLAG: pa.bool_(),
    }
    return types.get(kind, pa.string())


CODES = {Kind.CURRENCY: "[A-Z]{3}", Kind.COUNTRY: "[A-Z]{2}", Kind.PLACE: "[A-Z]{3}"}
"""Patterns of the codes."""

_PYTHON: dict[Kind, Any] = {
    Kind.UUID: uuid.UUID,
    Kind.ID: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID)],
    Kind.TEXT: Annotated[str, msgspec.Meta(max_length=MAX_TEXT)],
    Kind.INSTANT: Annotated[dt.datetime, msgspec.Meta(tz=True)],
    Kind.DATE: dt.date,
    Kind.FLAG: bool,
    **{kind: Annotated[str, msgspec.Meta(pattern=f"^{code}$")] for kind, code in CODES.items()},
}
_Struct = type[msgspec.Struct]
_WORD = re.compile("(?!(true|false|null|nan|inf)$)[a-z_]+")


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an event type.

    `signed` is for money only: the amount may be negative. `default` is what an absent optional field means.
    """

    name: str
    kind: Kind
    doc: str
    required: bool = True
    choices: tuple[str, ...] = ()
    signed: bool = False
    default: bool | None = None

    @property
    def arrow(self) -> pa.Field:
        """The field in an Arrow schema; a required field is not nullable."""
        import pyarrow as pa

        return pa.field(self.name, arrow_type(self.kind), nullable=not self.required)

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the greatest that a count or an amount may be."""
        most = MAX_COUNT if self.kind is Kind.COUNT else MAX_MONEY
        return -most if self.signed else 0, most

    @property
    def python(self) -> Any:
        """The annotation msgspec decodes the field by."""
        if self.kind is Kind.CHOICE:
            base: Any = Literal[self.choices]
        elif self.kind in {Kind.COUNT, Kind.MONEY}:
            least, most = self.bounds
            base = Annotated[int, msgspec.Meta(ge=least, le=most)]
        else:
            base = _PYTHON[self.kind]
        documented = Annotated[base, msgspec.Meta(description=self.doc)]
        return documented if self.required or self.default is not None else documented | None


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule between fields of one event; `holds` is DuckDB SQL over them, and NULL counts as holding.

    `says` completes the sentence "<field> ..." for whoever must correct the event.
    """

    code: str
    field: str
    holds: str
    says: str


@dataclass(frozen=True, eq=False)
class EventType:
    """One event type at one major version; `type` is its `event_type` as producers write it.

    `fields` starts with the envelope. `refers` says that the event points back at a sold item by `booking_id`, so its
    day files carry that item too (see `wayfare.snapshots.references`).
    """

    type: str
    version: str
    doc: str
    fields: tuple[Field, ...]
    rules: tuple[Rule, ...] = ()
    refers: bool = False

    def __post_init__(self) -> None:
        """Refuse a declaration that contradicts itself."""
        names = [f.name for f in self.fields]
        for name in names:
            if names.count(name) > 1:
                raise DeclarationError(f"event type {self.name}: field {name!r} is declared twice")
        for field in self.fields:
            for choice in field.choices:
                if not _WORD.fullmatch(choice):
                    raise DeclarationError(
                        f"event type {self.name}: field {field.name!r} has the choice {choice!r}, which JSON may take "
                        "for a number or a flag; write it as a word of a-z and _"
                    )
        for rule in self.rules:
            if rule.field not in names:
                raise DeclarationError(f"event type {self.name}: rule {rule.code!r} names unknown field {rule.field!r}")

    @property
    def major(self) -> str:
        """The first number of its SchemaVer version; events of another do not fit."""
        return self.version.partition("-")[0]

    @property
    def name(self) -> str:
        """`travel`, and from its second major version on `travel_v2`: what it is called everywhere but in its events.

        So are its staging table, its days in the change log, the folder of its day files, and `given[...]`.
        """
        return self.type if self.major == "1" else f"{self.type}_v{self.major}"

    @functools.cached_property
    def by_name(self) -> dict[str, Field]:
        """Fields by name."""
        return {f.name: f for f in self.fields}

    @functools.cached_property
    def arrow_schema(self) -> pa.Schema:
        """Schema of decoded events: the contract's fields, then `extra` (canonical JSON of unknown fields)."""
        import pyarrow as pa

        return pa.schema([*(f.arrow for f in self.fields), pa.field("extra", pa.string())])

    @functools.cached_property
    def staged_schema(self) -> pa.Schema:
        """Schema of staged events: decoded, plus `event_on` (agency-local day), `landed_at` and `batch_id`."""
        import pyarrow as pa

        return pa.schema(
            [
                *self.arrow_schema,
                pa.field("event_on", pa.date32(), nullable=False),
                pa.field("landed_at", pa.timestamp("us", "UTC"), nullable=False),
                pa.field("batch_id", pa.int64(), nullable=False),
            ]
        )

    @functools.cached_property
    def struct(self) -> _Struct:
        """The msgspec struct that decodes one event; unknown fields are ignored by it."""
        ordered = sorted(self.fields, key=lambda f: not f.required)
        fields = [(f.name, f.python) if f.required else (f.name, f.python, f.default) for f in ordered]
        name = self.name.title().replace("_", "")
        made = msgspec.defstruct(name, fields, tag_field="event_type", tag=self.type, kw_only=True, gc=False)
        # Reads the types of its fields now: two threads that convert to it first at once would end the process.
        msgspec.json.Decoder(made)
        return made

    def json_schema(self) -> dict[str, Any]:
        """JSON Schema (2020-12) of the event as a producer writes it.

        Landing takes no event that breaks it where formats are asserted, but for a UUID without its hyphens. It refuses
        more than JSON Schema can say: the semantic rules and reference data, a key written twice, text that cannot be
        stored (NUL, half of a surrogate pair), an instant past the year 9999 in UTC, a count written `1.0`.
        """
        (schema,), components = msgspec.json.schema_components([self.struct], ref_template="#/$defs/{name}")
        body = components[schema["$ref"].rsplit("/", 1)[1]]
        properties = dict(body["properties"])
        for field in self.fields:
            if field.default is not None:  # null is as good as leaving it out, for every optional field
                properties[field.name] = {"anyOf": [properties[field.name], {"type": "null"}], "default": field.default}
        properties["schema_version"] = {**properties["schema_version"], "pattern": f"^{self.major}-[0-9]+-[0-9]+$"}
        return {
            "$schema": JSON_SCHEMA,
            "title": f"{self.type} {self.version}",
            "description": self.doc,
            "type": "object",
            "properties": properties,
            "required": body["required"],
            "additionalProperties": True,
        }
