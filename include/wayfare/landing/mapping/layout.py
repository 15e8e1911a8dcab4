"""How somebody else's file is written: `[file]` of a mapping."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from wayfare.errors import nearest
from wayfare.landing import sources
from wayfare.landing.lines import repeated
from wayfare.landing.mapping.values import Mistake, at, known_keys

_TEXT = {
    "format": "csv, jsonl or parquet",
    "delimiter": "one character",
    "escape": "one character",
    "encoding": "like utf-8, cp1252 or utf-16",
}
_KEYS = (*_TEXT, "skip", "columns")


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file is written: `skip` lines before its header, or before its rows where `columns` names them."""

    format: str | None = None
    delimiter: str = ","
    escape: str = ""
    encoding: str | None = None
    skip: int = 0
    columns: tuple[str, ...] = ()

    @classmethod
    def declared(cls, spec: Any) -> Layout:
        """What a table of a mapping says; a `Mistake` where it makes no sense."""
        known_keys(spec, _KEYS, ())
        for key, value in spec.items():
            with at(key):
                _check(key, value)
        return cls(**{**spec, "columns": tuple(spec.get("columns", ()))})

    def format_of(self, source: str) -> str:
        """The format of a source: as declared, else by its suffix; anything else is CSV."""
        return self.format or sources.by_suffix(source) or "csv"


def _check(key: str, value: Any) -> None:
    if key in _TEXT and not isinstance(value, str):
        raise Mistake(f"{value!r} needs to be text: {_TEXT[key]}")
    if key == "format" and value not in sources.FORMATS:
        raise Mistake(f"{value!r} is not a format{nearest(value, sources.FORMATS)}")
    if key in {"delimiter", "escape"} and len(value) != 1:
        raise Mistake(f"{value!r} is not one character")
    if key == "escape" and value == '"':
        raise Mistake("quotes that are doubled need no escape; leave it out")
    if key == "skip" and (not isinstance(value, int) or value < 0):
        raise Mistake(f"{value!r} is not a number of lines")
    if key == "columns" and not (isinstance(value, list) and all(isinstance(v, str) and v for v in value)):
        raise Mistake("needs a list of names")
    if key == "columns" and (twice := repeated(value)):
        raise Mistake(f"{', '.join(map(repr, twice))} is there more than once; give each column a name of its own")
    if key == "encoding":
        try:
            io.TextIOWrapper(io.BytesIO(), value)
        except (LookupError, ValueError):
            raise Mistake(
                f"{value!r} is not an encoding of text; write one like utf-8, cp1252, latin-1 or utf-16"
            ) from None
