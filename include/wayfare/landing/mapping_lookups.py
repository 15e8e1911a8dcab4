"""Lookups of a mapping: tables of its own, and a few that are built in."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pycountry

from wayfare.landing.mapping_values import Mistake, nearest

if TYPE_CHECKING:
    from collections.abc import Callable


@functools.cache
def _alpha3_to_alpha2() -> dict[str, str]:
    return {country.alpha_3: country.alpha_2 for country in pycountry.countries}


@functools.cache
def _name_to_alpha2() -> dict[str, str]:
    named = ("name", "official_name", "common_name")
    return {getattr(c, n): c.alpha_2 for c in pycountry.countries for n in named if hasattr(c, n)}


_BUILTIN: dict[str, Callable[[], dict[str, str]]] = {
    "iso3166_alpha3": _alpha3_to_alpha2,
    "iso3166_name": _name_to_alpha2,
}


def lookup_table(spec: Any) -> pa.Table:
    """Columns `key` and `value` (text) of a `[lookups.NAME]`: `builtin`, `entries` or both, entries winning."""
    if not isinstance(spec, dict) or not spec.keys() <= {"builtin", "entries"} or not spec:
        raise Mistake('a lookup has `builtin = "..."`, `entries = {key = "value"}`, or both')
    pairs: dict[str, str] = {}
    if "builtin" in spec:
        if spec["builtin"] not in _BUILTIN:
            raise Mistake(f"no built-in lookup is called {spec['builtin']!r}{nearest(spec['builtin'], _BUILTIN)}")
        pairs |= _BUILTIN[spec["builtin"]]()
    entries = spec.get("entries", {})
    if not isinstance(entries, dict) or not all(isinstance(value, str) for value in entries.values()):
        raise Mistake("entries lead from text to text")
    pairs |= entries
    return pa.table({"key": pa.array(pairs.keys(), pa.string()), "value": pa.array(pairs.values(), pa.string())})
