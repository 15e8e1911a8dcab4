"""Mappings: what comes of a row, what a row that cannot be mapped says, and what a wrong mapping says."""

# ruff: noqa: E501 - rows of CSV are written as they come

from __future__ import annotations

import csv
import gzip
import json
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from wayfare.errors import DeclarationError
from wayfare.landing.mapping.declaration import Mapping

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal
    from pathlib import Path

    from wayfare.landing.lines import Fault

NAMESPACE = "622ad0e3-41f2-513f-8e45-dd77f4e74562"
BASE = f"""
source = "import:test"
namespace = "{NAMESPACE}"
[lookups.room]
entries = {{ D = "double", S = "single" }}
[lookups.market]
builtin = "iso3166_alpha3"
entries = {{ UK = "GB" }}
[lookups.zone]
builtin = "iata_zone"
[values]
due = {{ date = "2026-01-10" }}
"""
BOOKING = (
    BASE
    + """
[[events]]
type = "booking"
key = "{id}"
fields.occurred_at = { on = "{day}", at = "12:30", zone = "Europe/Lisbon" }
fields.booking_id = "{id}"
fields.item_id = "{id}/1"
fields.product = "hotel"
fields.resource_id = "hotel:X/{room}"
fields.destination = "FAO"
fields.start_on = { after = "{day}", days = "{lead}" }
fields.units = "{units}"
fields.price = { money = "{price}", currency = "{currency}" }
fields.currency = "{currency}"
"""
)
TRAVEL = (
    BASE
    + """
[[events]]
type = "travel"
key = "{@line}"
fields.occurred_at = "2026-01-01T00:00:00Z"
fields.booking_id = "b"
fields.item_id = "i"
fields.outcome = "completed"
fields.x = VALUE
"""
)
"""A value as a field that no contract knows."""

MARKET = '{ lookup = "market", of = "{a}" }'
ZIMMER = '{ extract = "^zimmer (.+)", of = "{a}" }'
GOOD = {
    "id": "b1", "day": "2026-07-01", "room": "D", "lead": "3", "units": "2", "price": "10.50", "currency": "EUR"
}  # fmt: skip


def run(tmp_path: Path, toml: str, rows: Sequence[dict[str, str]]) -> tuple[list[dict[str, Any]], dict[int, Fault]]:
    """Map rows of text."""
    file = tmp_path / "m.toml"
    file.write_text(toml, encoding="utf-8")
    header = list(rows[0])
    mapping = Mapping(str(file), header)
    block = {"line": pa.array(range(1, len(rows) + 1), pa.int64())}
    block |= {f"c{i}": pa.array([row[name] for row in rows], pa.string()) for i, name in enumerate(header)}
    block |= {"at_line": block["line"].cast(pa.string()), "at_file": pa.array(["data.csv"] * len(rows))}
    block["at_folder"] = pa.array(["2026-01"] * len(rows))
    with duckdb.connect() as connection:
        mapping.prepare(connection)
        events, faults = mapping.apply(connection, pa.table(block))
    return [json.loads(text) for text in events["json"].to_pylist()], faults


def evaluate(tmp_path: Path, value: str, **columns: str) -> Any:
    """One value over one row."""
    events, faults = run(tmp_path, TRAVEL.replace("VALUE", value), [columns or {"a": "1"}])
    if faults:
        return faults[1].message
    return events[0].get("x")


def test_a_row_becomes_an_event(tmp_path: Path) -> None:
    (event,), faults = run(tmp_path, BOOKING, [GOOD])
    assert faults == {}
    assert uuid.UUID(event["event_id"]) == uuid.uuid5(uuid.UUID(NAMESPACE), "booking/b1")
    assert event["occurred_at"] == "2026-07-01T11:30:00.000000Z"
    assert event["start_on"] == "2026-07-04"
    assert (event["units"], event["price"], event["currency"]) == (2, 1050, "EUR")
    assert (event["source"], event["schema_version"]) == ("import:test", "1-0-0")
    assert event["resource_id"] == "hotel:X/D"
    assert not {"end_on", "extra", "customer_id"} & event.keys()


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        ({"day": "01.07.2026"}, "not_a_date", "line 2, day '01.07.2026'"),
        ({"day": "2026-02-30"}, "not_a_date", "'2026-02-30'"),
        ({"units": "two"}, "not_a_number", "line 2, units 'two': is not a number"),
        ({"units": "1.5"}, "not_whole", "'1.5'"),
        ({"price": "10.505"}, "too_fine", "price '10.505'"),
        ({"price": "nan"}, "not_a_number", "price 'nan'"),
        ({"price": "9" * 16}, "not_a_number", "price"),
        ({"price": "10.5", "currency": "JPY"}, "too_fine", "price '10.5'"),
        ({"price": "9" * 15, "currency": "CLF"}, "out_of_range", "price '999999999999999': comes to more minor units"),
        ({"currency": "ZZZ"}, "unknown_currency", "currency 'ZZZ': is not an ISO 4217 currency"),
        ({"lead": "9999999"}, "not_a_date", "99,999 days"),
        ({"id": ""}, "missing", "line 2, id: is absent, but key of a booking needs it"),
        ({"price": ""}, "missing", "price of a booking needs it"),
    ],
)
def test_a_row_that_cannot_be_mapped_says_why_and_leaves_its_neighbors_alone(
    tmp_path: Path, change: dict[str, str], reason: str, words: str
) -> None:
    events, faults = run(tmp_path, BOOKING, [GOOD, GOOD | change, GOOD | {"id": "b3"}])
    assert [e["booking_id"] for e in events] == ["b1", "b3"]
    ((line, fault),) = faults.items()
    assert (line, fault.reason) == (2, reason)
    assert words in fault.message


def test_a_failing_row_gives_none_of_its_events(tmp_path: Path) -> None:
    second = '[[events]]\ntype = "cancellation"\nkey = "{id}"\nwhen = { room = "D" }\n'
    second += 'fields.occurred_at = "{gone}"\nfields.cancellation_id = "c"\nfields.booking_id = "{id}"\n'
    second += 'fields.units = 1\nfields.initiator = "customer"\n'
    rows = [GOOD | {"gone": "soon"}, GOOD | {"id": "b2", "gone": "soon", "room": "S"}]
    events, faults = run(tmp_path, BOOKING + second, rows)
    assert {line: f.reason for line, f in faults.items()} == {1: "not_an_instant"}
    assert [e["booking_id"] for e in events] == ["b2"]


@pytest.mark.parametrize(
    ("value", "columns", "expected"),
    [
        ('"{a}-{b}"', {"a": "x", "b": "y"}, "x-y"),
        ('"{a}-{b}"', {"a": "x", "b": ""}, None),
        ('"it\'s"', {}, "it's"),
        ("true", {}, True),
        ("1.5", {}, 1.5),
        ('{ lookup = "room", of = "{a}" }', {"a": "D"}, "double"),
        ('{ lookup = "room", of = "{a}", otherwise = "other" }', {"a": "Q"}, "other"),
        ('{ lookup = "market", of = "{a}" }', {"a": "PRT"}, "PT"),
        ('{ lookup = "market", of = "{a}" }', {"a": "UK"}, "GB"),
        ('{ number = "{a}", decimal = ",", thousands = "." }', {"a": "1.234,50"}, 1234.5),
        ('{ difference = ["{a}", "{b}"] }', {"a": "0.3", "b": "0.1"}, 0.2),
        ('{ date = "{a}", format = "%d/%m/%Y" }', {"a": "31/01/2026"}, "2026-01-31"),
        ('{ year = "{a}", month = "{b}", day = 5 }', {"a": "2026", "b": "March"}, "2026-03-05"),
        ('{ year = "{a}", month = "{b}", day = 5 }', {"a": "2026", "b": "mar"}, "2026-03-05"),
        ('{ year = "{a}", month = "{b}", day = 5 }', {"a": "2026", "b": "3"}, "2026-03-05"),
        ('{ before = "{a}", days = 1 }', {"a": "2026-03-01"}, "2026-02-28"),
        ('{ first = ["{a}", "{b}"] }', {"a": "", "b": "y"}, "y"),
        ('{ value = "{a}", when = { b = { above = 1 } } }', {"a": "x", "b": "2"}, "x"),
        ('{ value = "{a}", when = { b = { below = 1 } } }', {"a": "x", "b": "2"}, None),
        ('{ value = "{a}", when = { b = { not = ["y", "z"] } } }', {"a": "x", "b": "y"}, None),
        ('{ value = "{a}", when = { b = { not = "y" } } }', {"a": "x", "b": ""}, None),
        ('{ value = "{a}", when = { b = { present = false } } }', {"a": "x", "b": ""}, "x"),
        ('{ value = "{a}", when = { b = { at_least = 1, below = 2 } } }', {"a": "x", "b": "2"}, None),
        ('{ value = "{a}", when = { b = { at_most = "{a}" } } }', {"a": "2", "b": "10"}, None),
        ('{ value = "{a}", when = { any = [{ a = "y" }, { b = "2" }] } }', {"a": "x", "b": "2"}, "x"),
        ('{ value = "{a}", when = { a = { matches = "^X[0-9]+$" } } }', {"a": "X12"}, "X12"),
        ('{ value = "{a}", when = { a = { matches = "^X[0-9]+$" } } }', {"a": "X12a"}, None),
        ('{ value = 1, when = { due = { above = "{a}" } } }', {"a": "2026-01-10"}, None),
        ('{ value = 1, when = { due = { above = "{a}" } } }', {"a": "2026-01-09"}, 1),
        ('{ value = 1, when = { a = { at_least = "2026-01-09" } } }', {"a": "2026-01-08"}, None),
        ('{ value = 1, when = { a = { at_least = "2026-01-09" } } }', {"a": "2026-01-10"}, 1),
        ('{ value = 1, when = { a = { below = "2026-01-09T12:00:00Z" } } }', {"a": "2026-01-09T12:30:00+01:00"}, 1),
        ('{ value = 1, when = { a = { below = "10" } } }', {"a": "9"}, 1),
        ('"{a}"', {"a": "  padded\u00a0 "}, "padded"),
        ('{ extract = "([0-9]+) child", of = "{a}", otherwise = 0 }', {"a": "2 adults, 1 child"}, "1"),
        ('{ extract = "([0-9]+) child", of = "{a}", otherwise = 0 }', {"a": "2 adults"}, "0"),
        ('{ extract = "([0-9]+) child", of = "{a}", otherwise = "" }', {"a": "2 adults"}, None),
        ('{ extract = "^[A-Z]{3}", of = "{a}" }', {"a": "LHR-JFK"}, "LHR"),
        ('{ extract = "(?:to|-)([A-Z]{3})$", of = "{a}" }', {"a": "LHR-JFK"}, "JFK"),
        ('{ number = { extract = "[0-9.,]+", of = "{a}" }, thousands = "," }', {"a": "$1,200.50 "}, 1200.5),
        ('{ number = "{a}", round = 2 }', {"a": "96.30000000000001"}, 96.3),
        ('{ number = "{a}", round = 9 }', {"a": "1e-05"}, 0.00001),
        (f'{{ lookup = "room", of = "{{a}}", otherwise = {MARKET} }}', {"a": "D"}, "double"),
        (f'{{ lookup = "room", of = "{{a}}", otherwise = {MARKET} }}', {"a": "UK"}, "GB"),
        (f'{{ lookup = "room", of = "{{a}}", otherwise = {MARKET} }}', {"a": ""}, None),
        (f'{{ extract = "^room (.+)", of = "{{a}}", otherwise = {ZIMMER} }}', {"a": "room 7"}, "7"),
        (f'{{ extract = "^room (.+)", of = "{{a}}", otherwise = {ZIMMER} }}', {"a": "zimmer 8"}, "8"),
        (f'{{ first = ["{{b}}", {MARKET}] }}', {"a": "?", "b": "suite"}, "suite"),
        (f'{{ first = [{{ extract = "^room (.+)", of = "{{a}}" }}, {ZIMMER}] }}', {"a": "room 7"}, "7"),
        (f'{{ first = [{{ extract = "^room (.+)", of = "{{a}}" }}, {ZIMMER}] }}', {"a": "zimmer 8"}, "8"),
        (f'{{ first = [{{ upper = {ZIMMER} }}, "{{b}}"] }}', {"a": "?", "b": ""}, None),
        ('{ first = [{ number = "{a}" }, { number = "{b}" }] }', {"a": "1", "b": "n/a"}, 1),
        ('{ upper = "{a}" }', {"a": "Economy"}, "ECONOMY"),
        ('{ lookup = "zone", of = "{a}" }', {"a": "LIS"}, "Europe/Lisbon"),
        ('{ quotient = ["{a}", "{b}"] }', {"a": "-10", "b": "4"}, -2.5),
        ('{ quotient = ["{a}", "{b}"] }', {"a": "2", "b": "3"}, 0.666666667),
        (
            '{ money = { product = ["{a}", { extract = "[0-9.]+", of = "{b}" }, 0.01] }, currency = "EUR" }',
            {"a": "50", "b": "12%"},
            600,
        ),
        (
            '{ instant = "{a} {b}", format = "%m/%d/%Y %I:%M %p", zone = "America/New_York" }',
            {"a": "7/4/2026", "b": "9:05 PM"},
            "2026-07-05T01:05:00.000000Z",
        ),
        ('{ whole = "{a}" }', {"a": "1050"}, 1050),
        ('{ days_from = "{a}", to = "{b}" }', {"a": "2026-02-27", "b": "2026-03-02"}, 3),
        ('{ date = "{a}", format = ["%d-%b-%y", "%m/%d/%Y"] }', {"a": "5/1/2026"}, "2026-05-01"),
        ('{ date = "{a}", format = ["%d-%b-%y", "%m/%d/%Y"] }', {"a": "04-Jul-26"}, "2026-07-04"),
        ('{ date = { instant = "{a}" }, zone = "Asia/Yakutsk" }', {"a": "2026-07-05T20:00:00+00"}, "2026-07-06"),
        ('{ after = "1899-12-30", days = "{a}" }', {"a": "46023"}, "2026-01-01"),
        ('{ on = "2026-07-01", at = "{a}:30", zone = "Europe/Lisbon" }', {"a": "7"}, "2026-07-01T06:30:00.000000Z"),
        (
            '{ instant = "{a}", zone = "{b}" }',
            {"a": "2026-07-01 12:00", "b": "Asia/Tokyo"},
            "2026-07-01T03:00:00.000000Z",
        ),
        (
            '{ instant = "{a}", format = "%d.%m.%Y %H:%M%z" }',
            {"a": "01.07.2026 12:00+0200"},
            "2026-07-01T10:00:00.000000Z",
        ),
        ('{ unix = { quotient = ["{a}", 1000] } }', {"a": "1700000000500"}, "2023-11-14T22:13:20.500000Z"),
        ('"{@folder}/{@file}:{@line}"', {}, "2026-01/data.csv:1"),
        ('{ money = "{a}", currency = "KWD" }', {"a": "1.234"}, 1234),
        ('{ money = "{a}", currency = "{b}" }', {"a": "1", "b": ""}, None),
        ('{ money = "{a}", currency = "EUR", round = true }', {"a": "-1.235"}, -124),
    ],
)
def test_a_value_is(tmp_path: Path, value: str, columns: dict[str, str], expected: object) -> None:
    assert evaluate(tmp_path, value, **columns) == expected


@pytest.mark.parametrize(
    ("value", "columns", "words"),
    [
        ('{ quotient = ["{a}", "{b}"] }', {"a": "999999999999999", "b": "0.000000001"}, "cannot be divided"),
        ('{ quotient = ["{a}", "{b}"] }', {"a": "1", "b": "0"}, "cannot be divided"),
        ('{ number = "{a}", thousands = "." , decimal = "," }', {"a": "1.5"}, "is not a number written with"),
        ('{ on = "2026-07-01", at = "{a}" }', {"a": "25:00"}, "is not a time of day"),
        ('{ instant = "{a}", zone = "{b}" }', {"a": "2026-07-01 12:00", "b": "Tokyo"}, "is not an IANA time zone"),
        ('{ number = "{a}", round = 2 }', {"a": "1e18"}, "is not a number written with"),
        ('{ sum = ["{a}"] }', {"a": "96.30000000000001"}, "over nine decimals"),
        (f'{{ lookup = "room", of = "{{a}}", otherwise = {MARKET} }}', {"a": "Q"}, "a 'Q': is not in lookup 'market'"),
        (f"{{ first = [{ZIMMER}, {MARKET}] }}", {"a": "Q"}, "a 'Q': is not in lookup 'market'"),
        ('{ first = [{ number = "{a}" }, { number = "{b}" }] }', {"a": "n/a", "b": "1"}, "a 'n/a': is not a number"),
        ('{ extract = "[0-9]+", of = "{a}" }', {"a": "none"}, "a 'none': does not match '[0-9]+'"),
        ('{ date = "{a}", format = ["%d-%b-%y", "%Y"] }', {"a": "x"}, "is not a date written %d-%b-%y or %Y"),
        ('{ money = "{a}", currency = "CLF", round = true }', {"a": "-" + "9" * 15}, "comes to more minor units than"),
        ('{ unix = "{a}" }', {"a": "1700000000500"}, "divide milliseconds by 1000"),
        ('{ date = "{a}", format = "%Y" }', {"a": "x" * 500}, f"a '{'x' * 77}...': is not a date"),
    ],
)
def test_a_value_that_cannot_be_read_says_why(tmp_path: Path, value: str, columns: dict[str, str], words: str) -> None:
    assert words in evaluate(tmp_path, value, **columns)


def test_a_condition_reads_no_further_than_to_what_does_not_hold(tmp_path: Path) -> None:
    toml = 'when = { id = { matches = "^b" } }\n' + BOOKING.replace(
        'key = "{id}"', 'key = "{id}"\nwhen = { room = { not = "fee" }, units = { above = 0, below = 9 } }'
    )
    rows = [GOOD | {"id": "Total", "units": "n/a"}, GOOD | {"room": "fee", "units": "n/a"}, GOOD | {"units": "n/a"}]
    events, faults = run(tmp_path, toml, [GOOD, *rows])
    assert (len(events), {line: f.reason for line, f in faults.items()}) == (1, {4: "not_a_number"})


def test_a_lookup_without_otherwise_refuses_what_it_does_not_hold(tmp_path: Path) -> None:
    assert "'Q': is not in lookup 'room'" in evaluate(tmp_path, '{ lookup = "room", of = "{a}" }', a="Q")


@hypothesis_settings(max_examples=5, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.decimals(-(10**6), 10**6, places=2), st.integers(0, 10**6), st.sampled_from(("EUR", "KWD", "JPY"))
        ),
        min_size=20,
        max_size=60,
    )
)
def test_money_is_exact(tmp_path_factory: pytest.TempPathFactory, cases: list[tuple[Decimal, int, str]]) -> None:
    exact = '{ money = { product = ["{price}", "{units}"] }, currency = "{currency}" }'
    toml = BOOKING.replace('{ money = "{price}", currency = "{currency}" }', exact)
    rows = [
        GOOD | {"id": str(i), "price": f"{p:f}", "units": str(n), "currency": c} for i, (p, n, c) in enumerate(cases)
    ]
    events, faults = run(tmp_path_factory.mktemp("m"), toml, rows)
    minor = [p * n * {"EUR": 100, "KWD": 1000, "JPY": 1}[c] for p, n, c in cases]
    assert [e["price"] for e in events] == [m for m in minor if m == int(m)]
    assert list(faults) == [line for line, m in enumerate(minor, start=1) if m != int(m)]


def test_every_factor_of_a_product_adds_as_much(tmp_path: Path) -> None:
    def size(factors: int) -> int:
        (tmp_path / "m.toml").write_text(TRAVEL.replace("VALUE", f"{{ product = {['{a}'] * factors} }}"), "utf-8")
        return len(Mapping(str(tmp_path / "m.toml"), ["a"])._mapped())

    assert size(4) - size(3) == size(3) - size(2)


@pytest.mark.parametrize(
    ("wrong", "instead", "words"),
    [
        ('type = "booking"', 'type = "bookng"', "events[0]: no event type is called 'bookng'; did you mean 'booking'?"),
        ('"{id}/1"', '"{idd}/1"', "events[0].fields.item_id: no column or value is called 'idd'; did you mean 'id'?"),
        ('key = "{id}"', 'kee = "{id}"', "events[0]: unknown key 'kee'; did you mean 'key'?"),
        ("entries = { D =", 'path = "x.csv"\nentrees = { D =', "lookups.room: unknown key 'entrees'"),
        ('builtin = "iso3166_alpha3"\nentries = { UK = "GB" }', 'path = "x.csv"\nkey = "a"', "is not a file"),
        ('fields.units = "{units}"', 'fields.units = { extract = "(a)(b)", of = "{id}" }', "has 2 groups"),
        (
            'fields.units = "{units}"',
            'fields.units = { extract = "(?=a)", of = "{id}" }',
            "is not a regular expression",
        ),
        (
            'key = "{id}"',
            'key = "{id}"\nwhen = { id = { mtches = "a" } }',
            "'mtches' is not a test; did you mean 'matches'",
        ),
        (
            'key = "{id}"',
            'key = "{id}"\nwhen = { day = { above = "31/01/2026" } }',
            "events[0].when.day: '31/01/2026' is not a number, a date like 2026-01-31",
        ),
        (
            'fields.currency = "{currency}"',
            'fields.x = { date = "{day}", format = "%Q" }',
            "format '%Q' is not understood",
        ),
        ("after =", "aftr =", "events[0].fields.start_on: 'aftr' is not an operation; did you mean 'after'?"),
        ("at = ", "att = ", "unknown key 'att'; did you mean 'at'?"),
        ('at = "12:30"', 'at = "25:30"', "is not a time of day"),
        ("Europe/Lisbon", "Europe/Lisbn", "is not an IANA time zone"),
        ('{ money = "{price}", currency = "{currency}" }', '"{price}"', "fields.price: an amount is whole minor units"),
        ('currency = "{currency}" }', 'currency = "EUX" }', "fields.price: currency 'EUX' is not in ISO 4217"),
        ('fields.units = "{units}"', 'fields.units = { sum = "{units}" }', "'sum' needs a list"),
        ('fields.units = "{units}"', 'fields.units = "{units"', "brace without its partner"),
        ('fields.units = "{units}"', 'fields.event_id = "x"', "event ids come from `key`"),
        (NAMESPACE, "nothing", "namespace 'nothing' is not a UUID"),
        ("[[events]]", "[[events", "is not TOML"),
        pytest.param(NAMESPACE, f'{NAMESPACE}"\nabsent = [0x{"f" * 5_000}] #', "is not TOML", id="digits"),
        pytest.param(NAMESPACE, f'{NAMESPACE}"\nabsent = {"[" * 5_000} #', "is nested too deeply", id="lists"),
        pytest.param(
            NAMESPACE,
            f'{NAMESPACE}"\nwhen = {"{any=[" * 400}{{id="1"}}{"]}" * 400} #',
            "is nested too deeply",
            id="any",
        ),
        ('builtin = "iso3166_alpha3"', 'builtin = "iso3166"', "did you mean 'iso3166_"),
        ('builtin = "iso3166_alpha3"', 'builtin = ["iso3166_alpha3"]', "no built-in lookup is called"),
        (NAMESPACE, f'{NAMESPACE}"\nabsent = "NULL', "absent: 'NULL' needs to be a list of texts"),
        (NAMESPACE, f'{NAMESPACE}"\nabsent = 0 #', "absent: 0 needs to be a list of texts"),
        (NAMESPACE, f'{NAMESPACE}"\ncommon = "x', "common: needs to be a table"),
        ("[values]", "[[values]]", "values: needs to be a table"),
        ("[[events]]", "[events]", "events: needs at least one [[events]]"),
        ('type = "booking"', 'type = ["booking"]', "events[0]: no event type is called"),
        ('fields.units = "{units}"', "fields.x = nan", "fields.x: nan is not a number"),
        ('fields.units = "{units}"', "fields.x = -1e40", "fields.x: -1e+40 is not a number"),
        ('fields.units = "{units}"', 'fields.x = { lookup = ["room"], of = "{id}" }', "no lookup is called"),
        ('fields.units = "{units}"', 'fields.x = { number = "{id}", decimal = [","] }', 'decimal is "." or ","'),
    ],
)
def test_a_wrong_mapping_names_the_place_and_the_nearest_name(
    tmp_path: Path, wrong: str, instead: str, words: str
) -> None:
    assert wrong in BOOKING
    with pytest.raises(DeclarationError) as caught:
        run(tmp_path, BOOKING.replace(wrong, instead), [GOOD])
    assert words in str(caught.value)
    assert str(tmp_path / "m.toml") in str(caught.value)


def test_a_column_that_is_not_mentioned_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "m.toml"
    file.write_text(BOOKING, encoding="utf-8")
    mapping = Mapping(str(file), ["more", *GOOD, *(f"m.k{i}" for i in range(20_000))])
    assert mapping.columns == tuple(range(1, 1 + len(GOOD)))
    cells = {f"c{i}": [cell] for i, cell in enumerate(GOOD.values(), start=1)}
    with duckdb.connect() as connection:
        mapping.prepare(connection)
        rows = pa.table({"line": [1], "at_line": ["1"], "at_file": ["data.jsonl"], "at_folder": [""], **cells})
        events, faults = mapping.apply(connection, rows)
    assert (len(events), faults) == (1, {})


def test_of_many_columns_a_wrong_name_lists_the_first(tmp_path: Path) -> None:
    file = tmp_path / "m.toml"
    file.write_text(BOOKING, encoding="utf-8")
    with pytest.raises(DeclarationError, match=r"known: @file, @folder, @line, due, m\.k0, .* and 904 more$"):
        Mapping(str(file), [f"m.k{i}" for i in range(1_000)])


def test_two_events_of_a_type_need_keys_of_their_own(tmp_path: Path) -> None:
    twice = BOOKING + BOOKING[BOOKING.index("[[events]]") :]
    with pytest.raises(DeclarationError, match=r"events\[1\]: another booking has the key"):
        run(tmp_path, twice, [GOOD])


def test_a_key_may_be_an_operation_and_what_is_absent_a_number(tmp_path: Path) -> None:
    toml = BOOKING.replace('key = "{id}"', 'key = { upper = "{id}" }').replace(
        "[lookups.room]", "absent = [-1]\n[lookups.room]"
    )
    events, faults = run(tmp_path, toml, [GOOD, GOOD | {"id": "-1"}])
    assert [e["event_id"] for e in events] == [str(uuid.uuid5(uuid.UUID(NAMESPACE), "booking/B1"))]
    assert faults[2].reason == "missing"


def test_what_is_absent_is_absent_in_the_file_of_a_lookup_too(tmp_path: Path) -> None:
    (tmp_path / "cabins.csv").write_text("id,cabin\nb1,NULL\nb2,suite\nNULL,none\nNULL,any\n", "utf-8")
    declared = '[lookups.cabin]\npath = "cabins.csv"\nkey = "id"\n[values]'
    toml = TRAVEL.replace("VALUE", '{ lookup = "cabin", of = "{a}", take = "cabin" }').replace("[values]", declared)
    events, faults = run(tmp_path, 'absent = ["NULL"]\n' + toml, [{"a": cell} for cell in ("b1", "b2", "NULL")])
    assert ([event.get("x") for event in events], faults) == ([None, "suite", None], {})


def test_a_mapping_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    assert run(tmp_path, "\ufeff" + BOOKING, [GOOD])[1] == {}


def test_text_of_a_mapping_is_never_code(tmp_path: Path) -> None:
    assert evaluate(tmp_path, '"\'; DROP TABLE mapped; --"') == "'; DROP TABLE mapped; --"
    hostile = 'a"; DROP TABLE mapped; --'
    events, _ = run(tmp_path, BOOKING, [GOOD | {hostile: "x"}])
    assert len(events) == 1


def shipped(name: str, text: str) -> tuple[list[dict[str, Any]], dict[int, Fault]]:
    """Rows of CSV through a mapping that ships."""
    header, *rows = csv.reader(text.strip().splitlines())
    block = {"line": pa.array(range(2, len(rows) + 2), pa.int64())}
    block |= {f"c{i}": pa.array(column, pa.string()) for i, column in enumerate(zip(*rows, strict=True))}
    block |= {"at_line": block["line"].cast(pa.string()), "at_file": pa.array(["data.csv"] * len(rows))}
    block["at_folder"] = pa.array(["2026-01"] * len(rows))
    mapping = Mapping(name, header)
    with duckdb.connect() as connection:
        mapping.prepare(connection)
        events, faults = mapping.apply(connection, pa.table(block))
    return [json.loads(text) for text in events["json"].to_pylist()], faults


def test_both_hotels_are_read_without_ids_of_their_own() -> None:
    events, faults = shipped(
        "hotel_booking_demand",
        """
hotel,is_canceled,lead_time,arrival_date_year,arrival_date_month,arrival_date_day_of_month,stays_in_weekend_nights,stays_in_week_nights,adults,children,babies,meal,country,market_segment,distribution_channel,is_repeated_guest,reserved_room_type,assigned_room_type,deposit_type,agent,company,customer_type,adr,required_car_parking_spaces,total_of_special_requests,reservation_status,reservation_status_date
City Hotel,1,5,2026,March,3,1,2,1,NA,2,SC       ,TMP,Online TA,GDS,0,A,A,No Deposit,   9,   NULL,Transient,80.05,0,0,Canceled,2026-03-01
City Hotel,1,5,2026,March,3,1,2,1,NA,2,SC       ,TMP,Online TA,GDS,0,A,A,No Deposit,   9,   NULL,Transient,80.05,0,0,Canceled,2026-03-01
Resort Hotel,0,0,2026,July,1,0,0,2,1,0,HB       ,NULL,Direct,Direct,0,C,C,No Deposit,NULL,NULL,Transient,0,1,2,Check-Out,2026-07-01
""",
    )
    assert faults == {}
    assert Counter(e["event_type"] for e in events) == {"booking": 3, "cancellation": 2, "travel": 1, "purchase": 3}
    bookings = [e for e in events if e["event_type"] == "booking"]
    assert [b["booking_id"] for b in bookings] == ["PT-LIS-2", "PT-LIS-3", "PT-ALG-4"]
    first, twin, resort = bookings
    assert first["event_id"] != twin["event_id"]
    assert (first["destination"], first["start_on"], first["end_on"]) == ("LIS", "2026-03-03", "2026-03-06")
    assert (first["occurred_at"], first["price"]) == ("2026-02-26T12:00:00.000000Z", 24_015)
    assert (first["channel"], first["point_of_sale"], first["agent"]) == ("gds", "TL", "9")
    assert first["infants"] == 2
    assert not {"children", "company"} & first.keys()
    assert (resort["infants"], resort["children"]) == (0, 1)
    assert not {"end_on", "point_of_sale"} & resort.keys()


def test_hotel_reservations_refuse_the_day_that_never_was() -> None:
    events, faults = shipped(
        "hotel_reservations",
        """
Booking_ID,no_of_adults,no_of_children,no_of_weekend_nights,no_of_week_nights,type_of_meal_plan,required_car_parking_space,room_type_reserved,lead_time,arrival_year,arrival_month,arrival_date,market_segment_type,repeated_guest,no_of_previous_cancellations,no_of_previous_bookings_not_canceled,avg_price_per_room,no_of_special_requests,booking_status
INN1,2,0,1,2,Meal Plan 1,1,Room_Type 1,20,2018,7,20,Online,0,0,0,65.5,0,Not_Canceled
INN2,2,0,1,2,Not Selected,0,Room_Type 1,20,2018,7,20,Offline,0,0,0,65.5,0,Canceled
INN3,2,0,1,2,Not Selected,0,Room_Type 1,20,2018,2,29,Offline,0,0,0,65.5,0,1
""",
    )
    assert {line: f.reason for line, f in faults.items()} == {4: "not_a_date"}
    assert [(e["event_type"], e["booking_id"]) for e in events] == [
        ("booking", "INN1"), ("travel", "INN1"), ("purchase", "INN1"), ("purchase", "INN1"),
        ("booking", "INN2"), ("cancellation", "INN2"),
    ]  # fmt: skip
    assert events[0]["price"] == 19_650
    assert events[0]["occurred_at"] == "2018-06-30T11:00:00.000000Z"
    assert (events[0]["start_on"], events[0]["end_on"]) == ("2018-07-20", "2018-07-23")


def test_hotel_bookings_come_out_to_the_cent(shared_data: Path) -> None:
    with gzip.open(shared_data / "hotel_bookings_resort.csv.gz", "rt", encoding="utf-8", newline="") as file:
        events, faults = shipped("hotel_bookings", file.read())
    assert faults == {}
    by_type: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        by_type.setdefault(event["event_type"], []).append(event)
    bookings = {e["booking_id"]: e for e in by_type["booking"]}
    assert (len(bookings), len(by_type["cancellation"])) == (40_060, 10_831)
    outcomes = Counter(e["outcome"] for e in by_type["travel"])
    assert outcomes == {"completed": 28_938, "no_show": 291}
    revenue = sum(bookings[e["booking_id"]]["price"] for e in by_type["travel"] if e["outcome"] == "completed")
    assert revenue == 1_160_185_023
    assert sum(e["price"] < 0 for e in bookings.values()) == 1
    assert sum("point_of_sale" not in e for e in bookings.values()) == 464
    assert sum("end_on" not in e for e in bookings.values()) == 384
    assert round(sum(e["adr_minor"] for e in bookings.values()) / 40_060 / 100, 5) == 94.95293
    assert len({e["event_id"] for es in by_type.values() for e in es}) == len(events)
