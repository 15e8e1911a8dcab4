"""The two ways to type a line agree, and every refusal says what is wrong and where."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import time
import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr

from landing.sample_events import event
from wayfare import duck
from wayfare.contracts import EVENT_TYPES, EventType, Field, Kind
from wayfare.landing import fast
from wayfare.landing.careful import CarefulDecoder, Refused, to_table
from wayfare.landing.decode import Decoder, decoder
from wayfare.landing.lines import Lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


CONTRACTS = tuple(EVENT_TYPES.values())


@pytest.fixture(scope="module")
def decode(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Decoder]:
    from wayfare.settings import Settings

    with decoder(Settings(home=tmp_path_factory.mktemp("home"))) as made, pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast, "FEW", 0)
        yield made


def lines(*texts: str) -> Lines:
    table = {
        "line": pa.array(range(1, len(texts) + 1), pa.int64()),
        "raw": pa.array([t.encode() for t in texts], pa.binary()),
        "json": pa.array(texts, pa.string()),
    }
    return Lines("test", "jsonl", pa.table(table))


_ODD_TEXT = st.one_of(
    st.text(max_size=6),
    st.sampled_from(
        [
            "",
            "EUR",
            "LIS",
            "PT",
            "eur",
            'a"b',
            "a\\b",
            "tab\t",
            "é",
            "\0",
            "x" * 200,
            "x" * 201,
            "é" * 150,
            "null",
            ",}",
        ]
    ),
)
_ODD = st.one_of(
    _ODD_TEXT,
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([0, -0.0, 1.0, 2**31 - 1, 2**31, 2**53, 2**53 + 1, 10**9, 10**15, [], {}, {"a": None}]),
)
_UNKNOWN = st.one_of(_ODD_TEXT, st.sampled_from(["x", "y", "a.b", "X", "Adults", "event"]))
_NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.floats(), st.decimals(0, 10, places=3).map(float))
_OTHER = st.recursive(
    st.one_of(_ODD, _NUMBERS, st.sampled_from([1.5, -0.0, 12.345678, 1e-6, 1e16, "1.5", "2e3", "x"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_UNKNOWN, inner, max_size=3)),
    max_leaves=4,
)
_INSTANTS = st.sampled_from(
    [
        "2026-03-01T10:00:00Z", "2026-03-01T10:00:00.123456+05:30", "2026-03-01T10:00:00.1234567Z",
        "2026-02-30T10:00:00Z", "2026-03-01T24:00:00Z", "2026-03-01 10:00:00Z", "2026-03-01T10:00:00",
        "2026-03-01T10:00:00-23:59", "0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00", "2026-03-01t10:00:00z",
        "1999-12-31T23:59:59Z", "2026-03-01T23:59:60Z",
    ]
)  # fmt: skip
_DATES = st.sampled_from(
    ["2026-04-01", "2026-02-29", "2028-02-29", "0000-01-01", "20260401", "9999-12-31", "1000-01-01"]
)
_UUIDS = st.one_of(
    st.uuids().map(str),
    st.sampled_from(["{00000000-0000-0000-0000-000000000001}", "0" * 32, "A" * 8 + "-AAAA-AAAA-AAAA-" + "a" * 12, "x"]),
)


def _plain(field: Field) -> st.SearchStrategy[Any]:
    strategies: dict[Kind, st.SearchStrategy[Any]] = {
        Kind.UUID: _UUIDS,
        Kind.ID: st.text("abc-/é", min_size=1, max_size=5),
        Kind.TEXT: st.text("abc é", max_size=5),
        Kind.INSTANT: _INSTANTS,
        Kind.DATE: _DATES,
        Kind.COUNT: st.integers(0, 5),
        Kind.MONEY: st.integers(-1000 if field.signed else 0, 10**6),
        Kind.CURRENCY: st.sampled_from(["EUR", "USD", "XQZ"]),
        Kind.COUNTRY: st.sampled_from(["PT", "QQ"]),
        Kind.PLACE: st.sampled_from(["LIS", "QQQ"]),
        Kind.FLAG: st.booleans(),
        Kind.CHOICE: st.sampled_from(field.choices or ("",)),
    }
    if field.name == "schema_version":
        return st.sampled_from(["1-0-0", "1-2-13", "2-0-0", "1-0", "1"])
    return strategies[field.kind]


_ENDS = ["}", "}\n", " }\r\n", ",}", ", }\n", "}}", "", "} x", "} null", '} null {"a":1}', "}{}"]


@st.composite
def odd_lines(draw: st.DrawFn) -> str:
    """A line that is nearly, or quite, a plain event."""
    contract = draw(st.sampled_from(CONTRACTS))
    fields = [f for f in contract.fields if f.required or draw(st.booleans())]
    members = [("event_type", contract.name), *((f.name, draw(_plain(f))) for f in fields)]
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(members) - 1))
        change = draw(st.sampled_from(["drop", "odd", "null", "twice", "unknown"]))
        if change == "drop":
            del members[at]
        elif change == "twice":
            members.append(members[at])
        elif change == "unknown":
            members.append((draw(_UNKNOWN), draw(_OTHER)))
        else:
            members[at] = (members[at][0], None if change == "null" else draw(_ODD))
    ascii_only, space = draw(st.booleans()), draw(st.sampled_from(["", " "]))
    body = f",{space}".join(
        f"{json.dumps(n, ensure_ascii=ascii_only)}:{space}{json.dumps(v, ensure_ascii=ascii_only)}" for n, v in members
    )
    end = draw(st.sampled_from(_ENDS))
    return "{" + body + (end if draw(st.integers(0, 4)) == 0 else "}")


def typed_in_columns(texts: list[str]) -> dict[EventType, pa.Table]:
    """What the columnar path accepts, by contract."""
    with duck.connect(threads=1) as connection:
        return dict(fast.typed(connection, pa.chunked_array([pa.array(texts, pa.string())]), CONTRACTS))


@pytest.mark.usefixtures("decode")
@given(st.lists(odd_lines(), min_size=1, max_size=40))
@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_columnar_path_gives_what_the_row_path_gives(texts: list[str]) -> None:
    careful = CarefulDecoder(CONTRACTS)
    for contract, typed in typed_in_columns(texts).items():
        ordinals = typed["ordinal"].to_pylist()
        decoded = [careful.decode(texts[ordinal]) for ordinal in ordinals]
        assert all(told is contract for told, _ in decoded)
        rows = [(ordinal, *values) for ordinal, (_, values) in zip(ordinals, decoded, strict=True)]
        expected = to_table(contract, rows)
        assert typed.combine_chunks().equals(expected)


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@pytest.mark.usefixtures("decode")
def test_the_columnar_path_takes_every_plain_event(separators: tuple[str, str]) -> None:
    names = ("search", "booking", "cancellation", "travel", "inventory")
    events = [event(name, n, channel=None, customer_id="ü") for name in names for n in range(3)]
    texts = [json.dumps(e, separators=separators) for e in events]
    texts += [json.dumps(dict(reversed(e.items())), separators=separators) for e in events]
    typed = typed_in_columns(texts)
    assert {c.name: len(t) for c, t in typed.items()} == dict.fromkeys(names, 6)


OTHERS: list[tuple[dict[str, Any], str | None]] = [
    ({"z": "é/", "a.b-c": -7.25, "flag": False}, '{"a.b-c":-7.25,"flag":false,"z":"é/"}'),
    ({"price": 0.5, "big": 10**30, "none": ""}, '{"big":1000000000000000000000000000000,"none":"","price":0.5}'),
    ({"small": 1e-7}, None),
    ({"text": 'an "escape'}, None),
    ({"utm": {"b": "9e4", "a": [1, None]}, "tags": []}, '{"tags":[],"utm":{"a":[1,null],"b":"9e4"}}'),
    ({"nested": {"a": 1.5}}, None),
    ({"nested": [10**19]}, None),
    ({"nested": [float("nan")]}, None),
    ({"nested": {"a\tb": 1}}, None),
    ({"Units": 1}, None),
    ({"two words": 1}, None),
    ({"null": None}, None),
]  # fmt: skip


@pytest.mark.parametrize(("others", "extra"), OTHERS)
@pytest.mark.usefixtures("decode")
def test_the_columnar_path_keeps_plain_fields_that_no_contract_knows(others: dict[str, Any], extra: str | None) -> None:
    text = json.dumps(event("travel") | others)
    assert [t["extra"].to_pylist() for t in typed_in_columns([text]).values() if len(t)] == ([[extra]] if extra else [])


@pytest.mark.usefixtures("decode")
@pytest.mark.parametrize(
    ("written", "kept"),
    [("1.50", "1.50"), ("-0.0", "-0.0"), ("1.1234567", None), ("1E5", None), ("100000.0", "100000.0"), ("-0", "0")],
)
def test_numbers_of_what_no_contract_knows_are_kept_as_written(written: str, kept: str | None) -> None:
    text = json.dumps(event("travel"))[:-1] + f', "n": {written}, "m": "1,2"}}'
    found = [t["extra"].to_pylist() for t in typed_in_columns([text]).values() if len(t)]
    assert found == ([[f'{{"m":"1,2","n":{kept}}}']] if kept else [])
    assert CarefulDecoder(CONTRACTS).decode(text)[1][-1] == f'{{"m":"1,2","n":{kept or str(Decimal(written))}}}'


REFUSALS = [
    ("nonsense", "bad_json", None),
    ("[1]", "not_an_object", None),
    ('{"event_type":"search","a":NaN}', "bad_json", None),
    ("[" * 100_000, "bad_json", None),
    ('{"a":1,"a":2}', "duplicate_key", None),
    ('{"adults":1,"adults":2}', "duplicate_key", "adults"),
    ('[{"a":1,"a":2}]', "not_an_object", None),
    (json.dumps(event() | {"event_type": "serch"}), "unknown_type", "event_type"),
    ("{}", "missing_field", "event_type"),
    (json.dumps(event(schema_version="7-0-0")), "unknown_version", "schema_version"),
    (json.dumps(event(adults="2")), "bad_count", "adults"),
    (json.dumps(event(adults=1.0)), None, None),
    (json.dumps(event(adults=1.5)), "bad_count", "adults"),
    (json.dumps(event("booking"))[:-1] + ', "fee": 9007199254740992.50}', "bad_money", "fee"),
    (json.dumps(event("booking"))[:-1] + ', "fee": 1e999999999999}', "bad_money", "fee"),
    (json.dumps(event(adults=None)), "missing_field", "adults"),
    (json.dumps(event(product="boat")), "bad_choice", "product"),
    (json.dumps(event(customer_id="")), "bad_id", "customer_id"),
    (json.dumps(event(customer_id="a\0b")), "nul_character", "customer_id"),
    (json.dumps(event(nobody_knows=["a\0b"])), "nul_character", None),
    (json.dumps(event(customer_id="\ud800")), "bad_unicode", "customer_id"),
    (json.dumps(event(nobody_knows="\ud800")), "bad_unicode", None),
    (json.dumps(event(event_id="\ud800")), "bad_uuid", "event_id"),
    (json.dumps(event(product="\ud800")), "bad_choice", "product"),
    (json.dumps(event(start_on="\ud800")), "bad_date", "start_on"),
    (json.dumps(event(occurred_at="2026-03-01T10:00:00")), "bad_instant", "occurred_at"),
    (json.dumps(event(occurred_at="1999-12-31T23:00:00Z")), "too_old", "occurred_at"),
    (json.dumps(event(occurred_at="0001-01-01T00:00:00Z")), "too_old", "occurred_at"),
    (json.dumps(event(occurred_at="9999-12-31T23:59:59-05:00")), "bad_instant", "occurred_at"),
    (json.dumps(event(point_of_sale="ZZ")), "unknown_country", "point_of_sale"),
    (json.dumps(event(destination="QQQ")), "unknown_place", "destination"),
    (json.dumps(event(min_price=100)), "currency_missing", "currency"),
    (json.dumps(event(end_on="2026-04-01")), "ends_before_start", "end_on"),
    (json.dumps(event(adults=0, children=0)), "nobody_travels", "adults"),
    (json.dumps(event(adults=2**31 - 1, children=2**31 - 1)), None, None),
    (json.dumps(event(adults=1, infants=2)), "infants_exceed_adults", "infants"),
    (json.dumps(event("booking", adults=1, infants=2)), None, None),
    (json.dumps(event("booking", units=0)), "no_units", "units"),
    (json.dumps(event("booking", price=-5)), None, None),
    (json.dumps(event("booking", cost=-5)), "bad_money", "cost"),
    (json.dumps(event("booking", start_on="2026-02-28", end_on="2026-03-09")), "starts_before_booking", "start_on"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "reason", "field"), REFUSALS)
def test_a_refusal_names_reason_and_field(decode: Decoder, text: str, reason: str | None, field: str | None) -> None:
    incoming = decode(lines(text, json.dumps(event("travel"))))
    assert incoming.read == 2
    assert [(r.ordinal, r.reason, r.field) for r in incoming.rejections] == ([(0, reason, field)] if reason else [])
    for rejection in incoming.rejections:
        assert len(rejection.message) < 300
        if field:
            assert rejection.message.startswith(field)


def test_an_event_of_the_future_waits_for_its_time(decode: Decoder) -> None:
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=55)
    late = soon + dt.timedelta(minutes=10)
    incoming = decode(
        lines(*(json.dumps(event("travel", n, occurred_at=t.isoformat())) for n, t in enumerate((soon, late))))
    )
    assert [(r.ordinal, r.reason) for r in incoming.rejections] == [(1, "in_future")]


@pytest.mark.usefixtures("decode")
@pytest.mark.parametrize("end", ["null", ' null {"a":1}', "{}", '{"a":1', ',"a":1}', "}", "\n{"])
def test_a_line_is_one_document(end: str) -> None:
    plain = json.dumps(event("travel"))
    typed = typed_in_columns([plain + end, "null", plain, "", plain[:-1] + ",", '"a":1}', plain + "\r\n"])
    assert {c.name: t["ordinal"].to_pylist() for c, t in typed.items()} == {"travel": [2, 6]}


@pytest.mark.usefixtures("decode")
def test_what_duckdb_reads_and_json_does_not_say_is_left_to_the_row_path() -> None:
    plain = json.dumps(event("travel", customer_id="5", units=1), separators=(",", ":"))
    changes = [
        ('"5"', "5"), ('"5"', "true"), ('"5"', '["5"]'), ('"5"', "NaN"), (":1", ":1.0"), (":1", ":1e0"), (":1", ':"1"'),
        (":1", ":Infinity"), ("{", '{"x":1,'), ("{", '{"units":1,'), ("{", '{"units":null,'), ("}", ',"x":null}'),
        # one mark too few in one value, one too many in another
        ('"5"', '5,"x":2'), ('"customer_id":"5"', '"customer_id":5,"offer_id":"x"'),
    ]  # fmt: skip
    texts = [plain, *(plain.replace(was, becomes) for was, becomes in changes)]
    assert len(set(texts)) == len(texts)
    ((_, table),) = typed_in_columns(texts).items()
    assert [texts[ordinal] for ordinal in table["ordinal"].to_pylist()] == [plain, plain.replace("{", '{"x":1,')]


@pytest.mark.usefixtures("decode")
def test_a_line_at_fault_costs_the_columnar_path_no_other() -> None:
    texts = [json.dumps(event("travel", n)) for n in range(1_000)]
    version = {"schema_version": f"1-0-{'0' * 2_000}"}
    faulty = {7: {"unknown": 1e-7}, 8: version, 300: {"units": "2"}, 301: {"units": 2.5}, 999: {"occurred_at": 1}}
    for n, change in faulty.items():
        texts[n] = json.dumps(event("travel", n, **change))
    ((_, table),) = typed_in_columns(texts).items()
    assert table["ordinal"].to_pylist() == [n for n in range(1_000) if n not in faulty]


def test_nanoseconds_are_cut_as_those_of_parquet_are(decode: Decoder) -> None:
    ((_, table),) = decode(lines(json.dumps(event(occurred_at="2026-03-01T10:00:00.123456789Z")))).events
    assert table["occurred_at"][0].as_py() == dt.datetime(2026, 3, 1, 10, 0, 0, 123456, dt.UTC)


@pytest.mark.parametrize("key", ["secret", "k" * 100])
def test_customers_are_pseudonymized_by_hmac(tmp_path: Path, key: str) -> None:
    from wayfare.settings import Settings

    with decoder(Settings(home=tmp_path, customer_key=SecretStr(key))) as keyed:
        incoming = keyed(lines(json.dumps(event(customer_id="Zoë")), json.dumps(event("search", 2))))
    ((_, table),) = incoming.events
    expected = hmac.new(key.encode(), "Zoë".encode(), hashlib.sha256).hexdigest()
    assert table["customer_id"].to_pylist() == [expected, None]


def test_what_could_be_read_of_a_refused_event_is_told(decode: Decoder) -> None:
    (rejection,) = decode(lines(json.dumps(event("travel", 3, outcome="lost")))).rejections
    assert (rejection.event_type, rejection.event_id) == ("travel", str(uuid.uuid5(uuid.NAMESPACE_OID, "travel3")))
    assert rejection.message == 'outcome "lost" is not one of completed, no_show'


def test_of_a_name_written_twice_within_the_event_is_told(decode: Decoder) -> None:
    guests = '{"event_type": "view", "event_id": "x", "zoe@example.com": 1, "zoe@example.com": 2}'
    text = json.dumps(event("travel", 3, guests=0)).replace("0}", guests + "}")
    (rejection,) = decode(lines(text)).rejections
    assert (rejection.event_type, rejection.event_id) == ("travel", str(uuid.uuid5(uuid.NAMESPACE_OID, "travel3")))
    assert rejection.message == '"zoe@example.com" is written more than once; keep one'


def test_the_last_of_many_names_written_twice_is_found_at_once() -> None:
    names = [*range(100_000), 99_999]
    started = time.monotonic()
    with pytest.raises(Refused, match="99999"):
        CarefulDecoder(CONTRACTS).decode("{" + ",".join(f'"{name}":1' for name in names) + "}")
    assert time.monotonic() - started < 10


def test_careful_refuses_what_is_no_contract() -> None:
    with pytest.raises(Refused, match="did you mean 'booking'"):
        CarefulDecoder(CONTRACTS).decode('{"event_type": "bookings"}')
