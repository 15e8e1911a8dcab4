"""What a body holds, and what became of each event of a batch."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING

import psycopg
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from landing.sample_events import event, query
from wayfare.errors import ConfigurationError, DataError, ServiceError
from wayfare.landing.messages import MessageStager, RawEvent, events_of, message_decoder, outcomes
from wayfare.staging import database
from wayfare.staging.incoming import MAX_LINE

if TYPE_CHECKING:
    from wayfare.settings import Settings


@given(st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3), max_size=5))
@examples(max_examples=30, deadline=None)
def test_lines_and_arrays_hold_the_same_events(events: list[dict[str, str]]) -> None:
    lines = "\n".join(json.dumps(e) for e in events).encode()
    array = json.dumps(events, indent=1).encode()
    split = [[json.loads(e.raw) for e in events_of(b, t)] for b, t in ((lines, "application/x-ndjson"), (array, None))]
    split += [[json.loads(e.raw) for e in events_of(BOM_UTF8 + array, None)]]
    assert split == [events] * 3


def test_what_cannot_be_split_is_one_event() -> None:
    for body in (b"[1,", b"[\xff] 1", b"[[1}", b'["', b"\x00\n\x01", b'{\n "a": 1}', b"[" * 100_000):
        assert list(events_of(body, "application/json")) == [RawEvent(1, body)]
    assert list(events_of(b" \r\n", None)) == []
    assert list(events_of(b"a\r\n\nb", "Application/X-NDJSON; charset=utf-8")) == [
        RawEvent(1, b"a\r"),
        RawEvent(3, b"b"),
    ]


_NESTED = st.recursive(st.none() | st.text(max_size=4), lambda v: st.lists(v) | st.dictionaries(st.text(), v))
_DEEP = b'{"a":' + b'[{"b":' * 600 + b"1" + b"}]" * 600 + b"}"
_DAMAGED = st.sampled_from([rb'{"note": "half \ud83d, cut]"}', _DEEP, b'{"\xff": "}"}', rb'"\\\x"'])


@given(st.lists(_NESTED.map(lambda v: json.dumps(v).encode()), max_size=5), _DAMAGED, st.integers(0, 5))
@examples(max_examples=60, deadline=None)
def test_a_damaged_element_costs_itself_alone(good: list[bytes], damaged: bytes, place: int) -> None:
    elements = [*good[:place], damaged, *good[place:]]
    body = b" [" + b" ,".join(elements) + b"]\n"
    assert [e.raw.strip() for e in events_of(body, None)] == elements


def test_a_large_body_of_values_too_short_for_events_is_not_split() -> None:
    for body, content_type in ((b"[" + b"{}," * 500_000 + b"{}]", None), (b"{}\n" * 500_000, "application/jsonl")):
        assert list(events_of(body, content_type)) == [RawEvent(1, body)]
    strings = b"[" + b'""' * 2_000_000 + b"]"
    assert list(events_of(strings, None)) == [RawEvent(1, strings)]
    large = json.dumps([event("search", n) for n in range(10_000)], separators=(",", ":")).encode()
    assert len(large) > MAX_LINE
    assert sum(1 for _ in events_of(large, None)) == 10_000


def test_of_a_damaged_array_no_more_is_taken_apart_than_is_read() -> None:
    """Blank elements are no events, and hide none that are."""
    body = b"[ ,1," + b"2," * 10 + b'"\\'
    assert [e.raw for e in islice(events_of(body, None, 3), 3)] == [b"1", b"2", b"2"]
    assert list(events_of(body, None, 20)) == [RawEvent(1, body)]


def test_each_event_is_told_what_became_of_it(settings: Settings) -> None:
    bodies = [
        json.dumps(event("search", 1)).encode(),
        json.dumps(event("search", 1)).encode(),
        json.dumps(event("search", 1, adults=7)).encode(),
        json.dumps(event("travel", 2), indent=2).encode(),
        json.dumps(event("booking", 3, destination="QQQ")).encode(),
        b'\x80\x00{"',
        b"1" * ((1 << 20) + 1),
    ]
    with message_decoder(settings) as decode, closing(MessageStager(settings)) as stage:
        told = [
            [(o.status, o.reason, o.field) for o in outcomes(stage(decode(batch, "test")), len(batch))]
            for batch in [[RawEvent(1, body) for body in bodies]] * 2
        ]
    refused = [
        ("rejected", "unknown_place", "destination"),
        ("rejected", "not_utf8", None),
        ("rejected", "line_too_long", None),
    ]
    conflict, duplicate, landed = (
        ("conflict", "conflict", "event_id"),
        ("duplicate", None, None),
        ("landed", None, None),
    )
    assert told[0] == [landed, duplicate, conflict, landed, *refused]
    assert told[1] == [duplicate, duplicate, conflict, duplicate, *refused]
    kept = query(settings, "SELECT raw FROM staging.rejection ORDER BY rejection_id")
    assert sorted(raw for (raw,) in kept) == sorted([bodies[2], bodies[4], bodies[5], bodies[6][:-1]])


def test_what_the_database_does_not_take_is_the_datas_fault(settings: Settings) -> None:
    with psycopg.connect(settings.url("owner")) as connection:
        connection.execute("ALTER TABLE staging.search ADD CHECK (adults < 5)")
    many = json.dumps(event("search", 1, adults=9)).encode()
    with message_decoder(settings) as decode, closing(MessageStager(settings)) as stage:
        with pytest.raises(DataError, match="rejects a batch of"):
            stage(decode([RawEvent(1, many)], "test"))
        assert stage(decode([RawEvent(1, b"{}")], "test")).landed.rejected == 1


def test_a_database_that_is_migrated_between_two_batches_takes_the_first(settings: Settings) -> None:
    first, second = ([RawEvent(1, json.dumps(event("search", n)).encode())] for n in range(2))
    with message_decoder(settings) as decode, closing(MessageStager(settings)) as stage:
        stage(decode(first, "test"))
        with psycopg.connect(settings.url("owner"), autocommit=True) as owner:
            for revision, told in ("9999", "9999, and .*: install that version"), ("0001", "run `wayfare migrate`"):
                owner.execute("UPDATE control.alembic_version SET version_num = %s", [revision])
                with pytest.raises(ConfigurationError, match=told):
                    stage(decode(second, "test"))
                with pytest.raises(ConfigurationError, match=told):
                    database.check(settings.url("landing"), settings.timezone)
            assert query(settings, "SELECT count(*) FROM staging.search") == [(1,)]
            owner.execute("UPDATE control.alembic_version SET version_num = %s", [database.REVISION])
        assert stage(decode(second, "test")).landed.landed == 1


def test_a_connection_that_was_cut_is_made_anew(settings: Settings) -> None:
    batch = [RawEvent(1, json.dumps(event()).encode())]
    with message_decoder(settings) as decode, closing(MessageStager(settings)) as stage:
        stage(decode([RawEvent(1, b"{}")], "test"))
        query(
            settings,
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        failures = 0
        while True:
            try:
                staged = stage(decode(batch, "test"))
            except ServiceError:
                failures += 1
                continue
            break
    assert (failures, staged.landed.landed) == (1, 1)
