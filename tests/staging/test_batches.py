"""Exactly once in effect: any order, split and repetition; kills; two at a time; the change log and what it touches."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import MetaData

from landing.sample_events import event, query, staging, write
from wayfare.contracts import EVENT_TYPES, Field, Kind
from wayfare.errors import ConfigurationError, DataError
from wayfare.landing import Landed, land
from wayfare.settings import PROJECT, Settings
from wayfare.staging import database, migrations, tables

if TYPE_CHECKING:
    from pathlib import Path

_EVENTS = [event(name, n) for name in ("search", "booking", "cancellation", "travel") for n in range(4)]
_LINES = [json.dumps(e).encode() for e in _EVENTS] + [b"nonsense", json.dumps(event("search", 50, adults=-1)).encode()]


def _clear(settings: Settings) -> None:
    names = ", ".join(f"staging.{e.name}" for e in EVENT_TYPES.values())
    with psycopg.connect(settings.url("owner")) as connection:
        connection.execute(f"TRUNCATE {names}, staging.identity, staging.rejection, control.batch, control.change")


@given(order=st.permutations(_LINES + _LINES), rows=st.integers(1, 40), cuts=st.sets(st.integers(1, 35), max_size=3))
@hypothesis_settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
def test_order_split_and_repetition_do_not_matter(
    settings: Settings, tmp_path: Path, order: list[bytes], rows: int, cuts: set[int]
) -> None:
    _clear(settings)
    land(settings, [write(tmp_path / "once.jsonl", _LINES)])
    expected = staging(settings)
    _clear(settings)
    edges = [0, *sorted(cuts), len(order)]
    files = [write(tmp_path / f"{i}.jsonl", order[a:b]) for i, (a, b) in enumerate(pairwise(edges))]
    landed = land(settings.model_copy(update={"landing_rows": rows}), files)
    assert landed == Landed(read=len(order), landed=len(_EVENTS), duplicates=len(_EVENTS), rejected=4)
    assert staging(settings) == expected
    batch_of = "SELECT i.batch_id = s.batch_id FROM staging.{} s JOIN staging.identity i USING (event_id)"
    assert [told for e in EVENT_TYPES for (told,) in query(settings, batch_of.format(e))] == [True] * len(_EVENTS)
    batches = [b for (b,) in query(settings, "SELECT batch_id FROM control.batch ORDER BY 1")]
    assert batches == list(range(1, len(batches) + 1))
    assert query(settings, "SELECT coalesce(sum(landed), 0) FROM control.batch") == [(len(_EVENTS),)]


def _many(path: Path, count: int) -> str:
    rng = random.Random(7)
    names = ("search", "booking", "travel", "inventory")
    return write(path, [event(rng.choice(names), n, customer_id=str(n)) for n in range(count)])


_LAND = """
import sys
from wayfare.landing import land
from wayfare.settings import get_settings
land(get_settings(), sys.argv[1:])
"""


def _process(path: str, rows: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "WAYFARE_LANDING_ROWS": str(rows), "PYTHONPATH": str(PROJECT / "include")}
    return subprocess.Popen([sys.executable, "-c", _LAND, path], env=environment)


def test_a_killed_landing_is_made_whole_by_landing_again(settings: Settings, tmp_path: Path) -> None:
    path = _many(tmp_path / "a.jsonl", 6_000)
    landing = _process(path, 100)
    deadline = time.monotonic() + 60
    while query(settings, "SELECT count(*) FROM control.batch")[0][0] < 3:
        assert landing.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    landing.send_signal(signal.SIGKILL)
    landing.wait()
    counts = "SELECT sum(landed)::int, (SELECT count(*) FROM staging.identity) FROM control.batch"
    partial, staged = query(settings, counts)[0]  # at one instant: what was sent before the kill may still be committed
    assert 0 < partial == staged < 6_000
    landed = land(settings, [path])
    assert (landed.landed + landed.duplicates, landed.rejected) == (6_000, 0)
    killed = staging(settings)
    _clear(settings)
    land(settings, [path])
    assert staging(settings) == killed


def test_two_landers_at_once_stage_each_event_once(settings: Settings, tmp_path: Path) -> None:
    path = _many(tmp_path / "a.jsonl", 2_000)
    small = settings.model_copy(update={"landing_rows": 150})
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: land(small, [path]), range(2))
    assert first.landed + second.landed == 2_000
    assert first.duplicates + second.duplicates == 2_000
    assert query(settings, "SELECT count(*) FROM staging.identity") == [(2_000,)]
    assert query(settings, "SELECT count(*), max(batch_id) FROM control.batch") == [(14, 14)]
    both = staging(settings)
    _clear(settings)
    land(settings, [path])
    assert staging(settings) == both


def _changes(settings: Settings) -> list[tuple[Any, ...]]:
    return query(settings, "SELECT event_type, event_on::text, batch_id, rows FROM control.change ORDER BY 3, 1, 2")


def test_the_change_log_counts_rows_and_touches_what_refers(settings: Settings, tmp_path: Path) -> None:
    land(settings, [write(tmp_path / "1.jsonl", [event("cancellation", 1), event("travel", 2, booking_id="other")])])
    land(settings, [write(tmp_path / "2.jsonl", [event("booking", 3), event("search", 4), event("search", 32)])])
    land(settings, [write(tmp_path / "3.jsonl", [event("cancellation", 6, booking_id="other"), event("travel", 5)])])
    land(settings, [write(tmp_path / "4.jsonl", [event("travel", 6, item_id="i2"), event("search", 4)])])
    land(settings, [write(tmp_path / "5.jsonl", [event("purchase", 7)])])
    assert _changes(settings) == [
        ("cancellation", "2026-03-02", 1, 1),
        ("travel", "2026-03-03", 1, 1),
        ("booking", "2026-03-04", 2, 1),
        ("cancellation", "2026-03-02", 2, 0),
        ("search", "2026-03-05", 2, 2),
        ("cancellation", "2026-03-07", 3, 1),
        ("travel", "2026-03-03", 3, 0),
        ("travel", "2026-03-06", 3, 1),
        ("travel", "2026-03-06", 4, 0),
        ("travel", "2026-03-07", 4, 1),
        ("cancellation", "2026-03-02", 5, 0),
        ("purchase", "2026-03-08", 5, 1),
    ]


def test_a_batch_is_all_or_nothing(settings: Settings, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [event("search", 1), event("inventory", 2)])
    with psycopg.connect(settings.url("owner")) as connection:
        connection.execute("ALTER TABLE staging.inventory ADD CHECK (capacity < 10)")
    with pytest.raises(DataError, match="nothing of it is staged"):
        land(settings, [path])
    assert query(settings, "SELECT * FROM staging.search") == []
    with psycopg.connect(settings.url("owner")) as connection:
        connection.execute("ALTER TABLE staging.inventory DROP CONSTRAINT inventory_capacity_check")
    assert land(settings, [path]) == Landed(read=2, landed=2)


def test_a_contract_gains_a_field_and_a_major_version_has_its_table(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    travel = EVENT_TYPES["travel"]
    fields = (
        Field("gate", Kind.TEXT, "Gate.", required=False),
        Field("bags", Kind.COUNT, "Bags.", required=False),
        Field("boarded_on", Kind.DATE, "When.", required=False),
        Field("is_staff", Kind.FLAG, "A flight of the crew.", required=False, default=False),
    )
    gained = replace(travel, version="1-1-0", fields=(*travel.fields, *fields))
    second = replace(gained, version="2-0-0")
    said = {"gate": "A1", "bags": 2, "boarded_on": "2026-03-03", "is_staff": True}
    other = {"size": 1.5}
    early = write(tmp_path / "1.jsonl", [event("travel", 1), event("travel", 2, **said, **other)])
    assert land(settings, [early]) == Landed(read=2, landed=2)

    later = write(tmp_path / "2.jsonl", [event("travel", 3, gate="B2", schema_version="1-1-0"), event("travel", 4)])
    with pytest.raises(ConfigurationError, match="migrate"):
        land(settings, [later], contracts=[gained])
    metadata = MetaData()
    staged = {e.name: tables.event_table(e, metadata) for e in (gained, second)}
    monkeypatch.setattr(migrations, "STAGED", {"travel": staged["travel"]})
    database.migrate(settings)
    metadata.create_all(database.engine(settings.url("owner")), tables=[staged["travel_v2"]])
    assert land(settings, [later], contracts=[gained, second]) == Landed(read=2, landed=2)
    again = [event("travel", 1), event("travel", 2, **other, **said), event("travel", 2, **said)]
    again += [event("travel", 2, **said | {"bags": 3}, **other), event("travel", 1, gate="A1")]
    assert land(settings, [write(tmp_path / "again.jsonl", again)], contracts=[gained, second]) == Landed(
        read=5, duplicates=2, conflicts=3
    )
    newest = write(tmp_path / "3.jsonl", [event("travel", 5, gate="C3", schema_version="2-0-0")])
    assert land(settings, [newest], contracts=[gained, second]) == Landed(read=1, landed=1)
    gates = query(settings, "SELECT gate, extra FROM staging.travel ORDER BY event_on")
    assert gates == [
        (None, None),
        (None, json.dumps(said | other, sort_keys=True, separators=(",", ":"))),
        ("B2", None),
        (None, None),
    ]
    assert query(settings, "SELECT gate FROM staging.travel_v2") == [("C3",)]
    assert query(settings, "SELECT DISTINCT event_type FROM control.change ORDER BY 1") == [("travel",), ("travel_v2",)]
