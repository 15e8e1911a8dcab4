"""Mappings: what comes of a row, what a row that cannot be mapped says, and what a wrong mapping says."""

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
from wayfare.landing.mapping import Failure, Mapping

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal
    from pathlib import Path

NAMESPACE = "622ad0e3-41f2-513f-8e45-dd77f4e74562"
BASE = f"""
source = "import:test"
namespace = "{NAMESPACE}"
[lookups.room]
entries = {{ D = "double", S = "single" }}
[lookups.market]
builtin = "iso3166_alpha3"
entries = {{ UK = "GB" }}
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
GOOD = {
    "id": "b1", "day": "2026-07-01", "room": "D", "lead": "3", "units": "2", "price": "10.50", "currency": "EUR"
}  # fmt: skip


def run(tmp_path: Path, toml: str, rows: Sequence[dict[str, str]]) -> tuple[list[dict[str, Any]], list[Failure]]:
    """Map rows of text."""
    file = tmp_path / "m.toml"
    file.write_text(toml, encoding="utf-8")
    header = list(rows[0])
    mapping = Mapping(str(file), header)
    block = {"line": pa.array(range(1, len(rows) + 1), pa.int64())}
    block |= {f"c{i}": pa.array([row[name] for row in rows], pa.string()) for i, name in enumerate(header)}
    block |= {"at_line": block["line"].cast(pa.string()), "at_file": pa.array(["data.csv"] * len(rows))}
    with duckdb.connect() as connection:
        mapping.prepare(connection)
        events, failures = mapping.apply(connection, pa.table(block))
    return [json.loads(text) for text in events["json"].to_pylist()], failures


def evaluate(tmp_path: Path, value: str, **columns: str) -> Any:
    """One value over one row, as a field that no contract knows."""
    toml = BASE + f'[[events]]\ntype = "travel"\nkey = "1"\nfields.x = {value}\n'
    toml += 'fields.occurred_at = "2026-01-01T00:00:00Z"\nfields.booking_id = "b"\nfields.item_id = "i"\n'
    events, failures = run(tmp_path, toml + 'fields.outcome = "completed"\n', [columns or {"a": "1"}])
    if failures:
        return failures[0].message
    return events[0].get("x")


def test_a_row_becomes_an_event(tmp_path: Path) -> None:
    (event,), failures = run(tmp_path, BOOKING, [GOOD])
    assert failures == []
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
        ({"currency": "ZZZ"}, "unknown_currency", "currency 'ZZZ': is not an ISO 4217 currency"),
        ({"lead": "9999999"}, "not_a_date", "99,999 days"),
        ({"id": ""}, "missing", "line 2, id: is absent, but key of a booking needs it"),
        ({"price": ""}, "missing", "price of a booking needs it"),
    ],
)
def test_a_row_that_cannot_be_mapped_says_why_and_leaves_its_neighbors_alone(
    tmp_path: Path, change: dict[str, str], reason: str, words: str
) -> None:
    events, failures = run(tmp_path, BOOKING, [GOOD, GOOD | change, GOOD | {"id": "b3"}])
    assert [e["booking_id"] for e in events] == ["b1", "b3"]
    (failure,) = failures
    assert (failure.line, failure.reason) == (2, reason)
    assert words in failure.message


def test_a_failing_row_gives_none_of_its_events(tmp_path: Path) -> None:
    second = '[[events]]\ntype = "cancellation"\nkey = "{id}"\nwhen = { room = "D" }\n'
    second += 'fields.occurred_at = "{gone}"\nfields.cancellation_id = "c"\nfields.booking_id = "{id}"\n'
    second += 'fields.units = 1\nfields.initiator = "customer"\n'
    rows = [GOOD | {"gone": "soon"}, GOOD | {"id": "b2", "gone": "soon", "room": "S"}]
    events, failures = run(tmp_path, BOOKING + second, rows)
    assert [(f.line, f.reason) for f in failures] == [(1, "not_an_instant")]
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
        ('{ money = "{a}", currency = "KWD" }', {"a": "1.234"}, 1234),
        ('{ money = "{a}", currency = "EUR", round = true }', {"a": "-1.235"}, -124),
    ],
)
def test_a_value_is(tmp_path: Path, value: str, columns: dict[str, str], expected: object) -> None:
    assert evaluate(tmp_path, value, **columns) == expected


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
    events, failures = run(tmp_path_factory.mktemp("m"), toml, rows)
    minor = [p * n * {"EUR": 100, "KWD": 1000, "JPY": 1}[c] for p, n, c in cases]
    assert [e["price"] for e in events] == [m for m in minor if m == int(m)]
    assert [f.line for f in failures] == [line for line, m in enumerate(minor, start=1) if m != int(m)]


@pytest.mark.parametrize(
    ("wrong", "instead", "words"),
    [
        ('type = "booking"', 'type = "bookng"', "events[0]: no event type is called 'bookng'; did you mean 'booking'?"),
        ('"{id}/1"', '"{idd}/1"', "events[0].fields.item_id: no column or value is called 'idd'; did you mean 'id'?"),
        ('key = "{id}"', 'kee = "{id}"', "events[0]: unknown key 'kee'; did you mean 'key'?"),
        ("after =", "aftr =", "events[0].fields.start_on: 'aftr' is not an operation; did you mean 'after'?"),
        ("at = ", "att = ", "'on' takes no 'att'; did you mean 'at'?"),
        ('at = "12:30"', 'at = "25:30"', "is not a time of day"),
        ("Europe/Lisbon", "Europe/Lisbn", "is not an IANA time zone"),
        ('{ money = "{price}", currency = "{currency}" }', '"{price}"', "fields.price: an amount is whole minor units"),
        ('currency = "{currency}" }', 'currency = "EUX" }', "fields.price: currency 'EUX' is not in ISO 4217"),
        ('fields.units = "{units}"', 'fields.units = { sum = "{units}" }', "'sum' needs a list"),
        ('fields.units = "{units}"', 'fields.units = "{units"', "brace without its partner"),
        ('fields.units = "{units}"', 'fields.event_id = "x"', "event ids come from `key`"),
        (NAMESPACE, "nothing", "namespace 'nothing' is not a UUID"),
        ("[[events]]", "[[events", "is not TOML"),
        ('builtin = "iso3166_alpha3"', 'builtin = "iso3166"', "did you mean 'iso3166_"),
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


def test_two_events_of_a_type_need_keys_of_their_own(tmp_path: Path) -> None:
    twice = BOOKING + BOOKING[BOOKING.index("[[events]]") :]
    with pytest.raises(DeclarationError, match=r"events\[1\]: another booking has the key"):
        run(tmp_path, twice, [GOOD])


def test_text_of_a_mapping_is_never_code(tmp_path: Path) -> None:
    assert evaluate(tmp_path, '"\'; DROP TABLE mapped; --"') == "'; DROP TABLE mapped; --"
    hostile = 'a"; DROP TABLE mapped; --'
    events, _ = run(tmp_path, BOOKING, [GOOD | {hostile: "x"}])
    assert len(events) == 1


def test_hotel_bookings_come_out_to_the_cent(shared_data: Path) -> None:
    with gzip.open(shared_data / "hotel_bookings_resort.csv.gz", "rt", encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    block = {"line": pa.array(range(1, len(rows) + 1), pa.int64())}
    block |= {f"c{i}": pa.array(column, pa.string()) for i, column in enumerate(zip(*rows, strict=True))}
    block |= {"at_line": block["line"].cast(pa.string()), "at_file": pa.array(["data.csv"] * len(rows))}
    mapping = Mapping("hotel_bookings", header)
    with duckdb.connect() as connection:
        mapping.prepare(connection)
        events, failures = mapping.apply(connection, pa.table(block))
    assert failures == []
    by_type: dict[str, list[dict[str, Any]]] = {}
    for text in events["json"].to_pylist():
        event = json.loads(text)
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
    assert len({e["event_id"] for es in by_type.values() for e in es}) == events.num_rows
