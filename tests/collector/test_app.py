"""The collector as its producers see it: a real server on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
import json
import re
import secrets
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import psycopg
import pytest
import uvicorn
from starlette.requests import Request

from collector.conftest import JSON, LINES, serving
from landing.sample_events import event, query
from waiting import until
from wayfare.collector import app, limits, producers
from wayfare.collector.batcher import Batcher
from wayfare.collector.metrics import Metrics
from wayfare.collector.server import serve
from wayfare.contracts import EVENT_TYPES
from wayfare.errors import ZoneError
from wayfare.settings import Settings
from wayfare.staging import database
from wayfare.staging.locks import BATCH_LOCK

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from brokers import Broker
    from collector.conftest import Collector
    from wayfare.collector.producers import Producer
    from wayfare.local.postgres import EmbeddedPostgres


def statuses(response: httpx.Response) -> list[str]:
    return [result["status"] for result in response.json()["results"]]


def test_bodies_and_what_becomes_of_their_events(collector: Collector, token: str, settings: Settings) -> None:
    one = collector.post(event("search", 1), token)
    assert (one.status_code, one.json()["results"]) == (200, [{"status": "landed"}])
    array = collector.post([event("search", n) for n in (1, 2, 2)], token)
    assert (array.status_code, statuses(array)) == (200, ["duplicate", "landed", "duplicate"])
    lines = b"\n".join(json.dumps(e).encode() for e in (event("search", 3), event("search", 2, adults=9))) + b"\n"
    packed = gzip.compress(lines[:50]) + gzip.compress(lines[50:])
    mixed = collector.post(packed, token, LINES, content_encoding="gzip")
    assert (mixed.status_code, statuses(mixed)) == (207, ["landed", "conflict"])
    bad = collector.post([event("search", 4, destination="QQQ"), {"event_type": "serach"}, event("search", 5)], token)
    assert (bad.status_code, statuses(bad)) == (207, ["rejected", "rejected", "landed"])
    assert bad.json()["results"][0]["reason"] == "unknown_place"
    assert "did you mean 'search'?" in bad.json()["results"][1]["message"]
    assert {k: bad.json()[k] for k in ("landed", "duplicate", "conflict", "rejected", "queued")} == {
        "landed": 1, "duplicate": 0, "conflict": 0, "rejected": 2, "queued": 0,
    }  # fmt: skip
    assert query(settings, "SELECT count(*) FROM staging.search") == [(4,)]
    kept = query(settings, "SELECT source, reason FROM staging.rejection ORDER BY rejection_id")
    assert kept == [("http:web", r) for r in ("conflict", "unknown_place", "unknown_type")]


def test_bodies_that_are_no_events_are_kept(collector: Collector, token: str, settings: Settings) -> None:
    bodies = (b"\xff\x00", b"[1,", b"nonsense", rb'{"\ud800":1,"\ud800":2}', rb'{"a\u0000":1,"a\u0000":2}')
    for body in bodies:
        assert statuses(collector.post(body, token)) == ["rejected"]
    assert {raw for (raw,) in query(settings, "SELECT raw FROM staging.rejection")} == set(bodies)


def test_only_a_producers_token_opens(collector: Collector, token: str, settings: Settings) -> None:
    for wrong in (None, token + "x", token[:-1], "\xff"):
        refused = collector.client.post(
            "/v1/events",
            content=json.dumps(event()).encode(),
            headers=[] if wrong is None else [(b"authorization", b"Bearer " + wrong.encode("latin-1"))],
        )
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert query(settings, "SELECT count(*) FROM staging.identity") == [(0,)]
    assert token not in str(query(settings, "SELECT * FROM control.producer"))
    fleeting = producers.add(settings, "fleeting", ["search"], 10)
    until(lambda: collector.knows(fleeting))
    assert collector.post(event(source="fleeting"), fleeting).status_code == 200
    producers.revoke(settings, "fleeting")
    until(lambda: not collector.knows(fleeting))
    assert collector.post(event("search", 2), token).status_code == 200
    for path in ("/", "/docs", "/redoc", "/v1/events"):
        assert collector.client.get(path).status_code in {404, 405}


def test_a_collector_may_be_started_before_the_database_is_migrated(
    postgres: EmbeddedPostgres, free_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as administering:
        administering.execute(f"CREATE DATABASE {name}".encode())
    monkeypatch.setenv("WAYFARE_DATABASE_URL", postgres.url(name))
    empty = Settings(database_url=postgres.url(name), home=tmp_path)
    with serving(free_port) as early:
        for _ in range(2):
            assert early.post(event(), "x").status_code == 503
            time.sleep(1)
        database.migrate(empty)
        token = producers.add(empty, "web", ["search"], 10)
        until(lambda: early.knows(token))
    database.engine(postgres.url(name)).dispose()


def test_a_collector_of_another_zone_does_not_start(
    settings: Settings, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uvicorn, "run", lambda *_, **__: pytest.fail("it serves"))
    with pytest.raises(ZoneError, match="set WAYFARE_TIMEZONE=UTC"):
        serve(settings.model_copy(update={"timezone": "Asia/Tokyo"}), "127.0.0.1", free_port)


def test_a_producer_sends_its_own_events_only(collector: Collector, token: str, settings: Settings) -> None:
    sent = [event("search", 1), event("travel", 1), event("search", 2, source="app"), event("booking", 1),
            {**event("travel", 3), "units": -1}]  # fmt: skip
    answer = collector.post(sent, token)
    assert (answer.status_code, statuses(answer)) == (207, ["landed", "rejected", "rejected", "landed", "rejected"])
    told = [(r.get("reason"), r.get("field")) for r in answer.json()["results"]]
    assert told == [(None, None), ("forbidden", "event_type"), ("forbidden", "source"), (None, None),
                    ("forbidden", "event_type")]  # fmt: skip
    assert query(settings, "SELECT count(*) FROM staging.rejection") == [(0,)]
    assert statuses(collector.post(event("travel", 9), token)) == ["rejected"]


def test_what_may_land_later_is_no_way_around_a_producers_name(
    collector: Collector, token: str, settings: Settings
) -> None:
    """A replay would land it as another's, once its time has come."""
    soon = (dt.datetime.now(dt.UTC) + dt.timedelta(minutes=61)).isoformat()
    sent = [event("search", 1, source="gds", occurred_at=soon), event("search", 2, source="gds", adults=-1),
            event("search", 3, occurred_at=soon)]  # fmt: skip
    told = [(r["reason"], r["field"]) for r in collector.post(sent, token).json()["results"]]
    assert told == [("forbidden", "source"), ("forbidden", "source"), ("in_future", "occurred_at")]
    assert query(settings, "SELECT reason FROM staging.rejection") == [("in_future",)]


def test_sizes_and_encodings(collector: Collector, token: str) -> None:
    def code(body: bytes, content_type: str = "application/json", **headers: str) -> tuple[int, str]:
        response = collector.post(body, token, content_type, **headers)
        return response.status_code, response.json()["reason"]

    big = b" " * (limits.MAX_BODY + 1)
    assert code(big) == (413, "too_large")
    bomb = gzip.compress(b" " * (1 << 27))
    assert len(bomb) < limits.MAX_BODY
    assert code(bomb, content_encoding="gzip") == (413, "too_large")
    assert code(gzip.compress(b"{}" * 50_000)[:-9], content_encoding="gzip") == (400, "bad_gzip")
    assert code(b"{}", content_encoding="gzip") == (400, "bad_gzip")
    assert code(gzip.compress(b"") * (limits.MAX_MEMBERS + 1), content_encoding="gzip") == (400, "bad_gzip")
    assert code(b"{}", content_encoding="br") == (415, "bad_encoding")
    assert code(b"{}", "text/plain") == (415, "bad_content_type")
    assert code(b" \n", LINES) == (400, "no_events")
    assert code(b"{}\n" * (limits.MAX_EVENTS + 1), LINES) == (413, "too_many")
    chunked = collector.client.post("/v1/events", content=iter([big]), headers={"authorization": f"Bearer {token}"})
    assert chunked.status_code == 413
    assert "wayfare_collector_held_bytes 0.0" in collector.client.get("/metrics").text


def test_a_client_that_hangs_up_within_its_body_is_counted(collector: Collector, token: str) -> None:
    def refused() -> float:
        found = re.search(r'requests_total\{code="400"\} (\S+)', collector.client.get("/metrics").text)
        return float(found[1]) if found else 0

    before, url = refused(), collector.client.base_url
    with socket.create_connection((url.host, url.port or 80)) as connection:
        head = f"POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 100\r\n\r\n"
        connection.sendall(head.encode() + b'{"a":')
        time.sleep(0.2)
    until(lambda: refused() == before + 1)


def test_a_producer_beyond_its_rate_waits(collector: Collector, settings: Settings) -> None:
    slow = producers.add(settings, "slow", ["search"], 10)
    sent = [event("search", n, source="slow") for n in range(60)]
    until(lambda: collector.knows(slow))
    assert collector.post(sent, slow).status_code == 200
    second = collector.post(sent[:1], slow)
    assert (second.status_code, second.json()["reason"]) == (429, "rate_limited")
    assert 1 <= int(second.headers["retry-after"]) <= 6


def test_what_is_refused_for_its_number_counts_too(collector: Collector, settings: Settings) -> None:
    crowded = producers.add(settings, "crowded", ["search"], 100)
    until(lambda: collector.knows(crowded))
    body = b"[" + b'{"a":10},' * 900_000 + b"{}]"
    assert len(body) < limits.MAX_BODY
    assert collector.post(body, crowded).json()["reason"] == "too_many"
    assert collector.post(event("search", 1, source="crowded"), crowded).json()["reason"] == "rate_limited"


def test_a_body_of_millions_of_values_is_one_rejection(collector: Collector, token: str, settings: Settings) -> None:
    answer = collector.post(b"[" + b"0," * 4_000_000 + b"0]", token)
    assert [r["reason"] for r in answer.json()["results"]] == ["line_too_long"]
    assert query(settings, "SELECT octet_length(raw) FROM staging.rejection") == [(1 << 20,)]


def test_health_metrics_and_openapi(collector: Collector, settings: Settings) -> None:
    assert (collector.client.get("/health").json(), collector.client.get("/health").status_code) == (
        {"database": "ok"}, 200,
    )  # fmt: skip
    counted = producers.add(settings, "counted", ["search"], 10)
    until(lambda: collector.knows(counted))
    collector.post([event("search", 1, source="counted"), {}], counted)
    figures = collector.client.get("/metrics")
    assert figures.headers["content-type"].startswith("text/plain; version=0.0.4")
    for status in ("landed", "rejected"):
        assert f'wayfare_collector_events_total{{producer="counted",status="{status}"}} 1.0' in figures.text
    assert 'wayfare_collector_requests_total{code="207"}' in figures.text
    posting = collector.client.get("/openapi.json").json()["paths"]["/v1/events"]["post"]
    titles = [s.get("title") for s in posting["requestBody"]["content"]["application/json"]["schema"]["oneOf"]]
    assert titles[:-1] == [f"{e.type} {e.version}" for e in EVENT_TYPES.values()]
    assert posting["security"] == [{"HTTPBearer": []}]
    assert {"200", "207", "401", "413", "429", "503"} <= set(posting["responses"])


def test_what_is_held_is_bounded(collector: Collector, token: str, settings: Settings) -> None:
    """While PostgreSQL cannot commit, requests are held up to the budget; the rest is refused at once."""
    body = json.dumps([event("search", 1)]).encode().ljust(limits.MAX_BODY)
    with (
        ThreadPoolExecutor(16) as pool,
        psycopg.connect(settings.url("owner")) as holding,
        httpx.Client(base_url=collector.client.base_url, timeout=60, limits=httpx.Limits(max_connections=16)) as many,
    ):
        holding.execute("SELECT pg_advisory_xact_lock(%s)", [BATCH_LOCK])
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        sent = [pool.submit(many.post, "/v1/events", content=body, headers=headers) for _ in range(12)]
        held = app.BUDGET // 2 // limits.MAX_BODY
        until(lambda: sum(s.done() for s in sent) >= 12 - held)
        early = [s.result() for s in sent if s.done()]
        assert {(r.status_code, r.headers.get("retry-after")) for r in early} == {(503, "1")}
        holding.rollback()
        late = [s.result().status_code for s in sent]
    assert set(late) == {200, 503}


def test_while_the_database_is_away_nothing_is_acknowledged(
    collector: Collector, token: str, settings: Settings, postgres: EmbeddedPostgres
) -> None:
    postgres.stop()
    try:
        away = collector.post(event(), token)
        assert (away.status_code, away.json()["reason"], away.headers["retry-after"]) == (503, "unavailable", "5")
        assert collector.client.get("/health").json() == {"database": "does not answer"}
    finally:
        postgres.start()
    assert statuses(collector.post(event(), token)) == ["landed"]
    assert query(settings, "SELECT count(*) FROM staging.identity") == [(1,)]


def test_a_database_that_answers_and_takes_no_events_is_ill(
    collector: Collector, token: str, settings: Settings
) -> None:
    with psycopg.connect(settings.url("owner"), autocommit=True) as owner:
        owner.execute("ALTER TABLE staging.identity RENAME TO elsewhere")
        try:
            assert collector.post(event(), token).status_code == 503
            assert statuses(collector.post(event("travel"), token)) == ["rejected"]  # which needs no database
            ill = collector.client.get("/health")
        finally:
            owner.execute("ALTER TABLE staging.elsewhere RENAME TO identity")
    assert (ill.status_code, ill.json()) == (503, {"database": "does not take events"})
    assert statuses(collector.post(event(), token)) == ["landed"]
    assert collector.client.get("/health").status_code == 200


def test_killed_under_load_everything_acknowledged_is_staged(
    start: Callable[[], AbstractContextManager[Collector]], token: str, settings: Settings
) -> None:
    acknowledged: set[str] = set()
    numbers = iter(range(10_000_000))
    over = threading.Event()

    def send(url: httpx.URL) -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            while not over.is_set():
                batch = [event("search", next(numbers)) for _ in range(20)]
                try:
                    done = client.post("/v1/events", json=batch, headers={"authorization": f"Bearer {token}"})
                except httpx.TransportError:
                    time.sleep(0.05)
                    continue
                if done.status_code == 200:
                    acknowledged.update(e["event_id"] for e in batch)

    with ThreadPoolExecutor(8) as pool:
        for _ in range(2):
            with start() as running:
                senders = [pool.submit(send, running.client.base_url) for _ in range(8)]
                before = len(acknowledged)
                until(lambda before=before: len(acknowledged) >= before + 500)
                running.process.kill()
                over.set()
                for sender in senders:
                    sender.result()
                over.clear()
    staged = {str(i) for (i,) in query(settings, "SELECT event_id FROM staging.identity")}
    assert len(acknowledged) >= 1_000
    assert acknowledged <= staged


def test_sigterm_answers_what_was_accepted(
    start: Callable[[], AbstractContextManager[Collector]], token: str, settings: Settings
) -> None:
    with start() as stopping, ThreadPoolExecutor(1) as pool, psycopg.connect(settings.url("owner")) as holding:
        holding.execute("SELECT pg_advisory_xact_lock(%s)", [BATCH_LOCK])
        sent = pool.submit(stopping.post, event(), token)
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'"
        until(lambda: query(settings, waiting) == [(1,)])
        stopping.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        holding.rollback()
        assert sent.result().status_code == 200
        assert stopping.process.wait(30) is not None


def test_with_a_queue_events_are_queued_and_landed(
    start: Callable[[], AbstractContextManager[Collector]],
    token: str,
    settings: Settings,
    rabbitmq: Broker,
    postgres: EmbeddedPostgres,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pydantic import SecretStr

    from wayfare.landing.queue import land_queue

    monkeypatch.setenv("WAYFARE_QUEUE_URL", rabbitmq.url)
    monkeypatch.setenv("WAYFARE_QUEUE_NAME", "collected")
    refused = [{"event_type": "search"}, "x", [event("search", 9)]]
    another = json.dumps(event("booking", 9, source="gds")).encode()
    nested = [(b"[[" + another + b"]]", JSON), (b"[" + another + b"]", LINES), (b"[" + another + b", tru]", LINES)]
    with start() as running:
        sent = running.post([event("search", n) for n in range(50)] + refused, token)
        assert (sent.status_code, statuses(sent)) == (207, ["queued"] * 50 + ["rejected"] * 3)
        assert statuses(running.post(b"[1,\n\xff", token)) == ["rejected"]
        for body, content_type in nested:
            assert statuses(running.post(body, token, content_type)) == ["rejected"]
        assert statuses(running.post(event("travel"), token)) == ["rejected"]
        assert statuses(running.post(event("search", 9, source="gds", adults=-1), token)) == ["rejected"]
        assert running.client.get("/health").json() == {"database": "ok", "queue": "ok"}
        postgres.stop()
        try:
            assert statuses(running.post(event("search", 0), token)) == ["queued"]
            well = running.client.get("/health")
            assert (well.status_code, well.json()) == (200, {"database": "does not answer", "queue": "ok"})
        finally:
            postgres.start()
        rabbitmq.stop()
        assert running.client.get("/health").status_code == 503
        away = running.post(event("search", 50), token)
        assert (away.status_code, away.headers["retry-after"]) == (503, "5")
        rabbitmq.start()
        assert statuses(running.post(event("search", 50), token)) == ["queued"]
    assert query(settings, "SELECT count(*) FROM staging.identity") == [(0,)]
    stop = threading.Event()
    configured = settings.model_copy(update={"queue_url": SecretStr(rabbitmq.url), "queue_name": "collected"})
    with ThreadPoolExecutor(1) as pool:
        landing = pool.submit(land_queue, configured, stop)
        try:
            until(lambda: query(settings, "SELECT count(*) FROM staging.identity") == [(51,)])
            until(lambda: query(settings, "SELECT count(*) FROM staging.rejection") == [(6,)])
        finally:
            stop.set()
        account = landing.result()
    assert (account.landed, account.rejected) == (51, 7)
    raws = {raw for (raw,) in query(settings, "SELECT raw FROM staging.rejection")}
    as_sent = {b"[1,\n\xff", b"[" + another + b"]", b"[" + another + b", tru]"}
    assert raws == {*(json.dumps(r).encode() for r in refused), *as_sent}


def _unserved(settings: Settings) -> app._Collector:
    budget = limits.Budget(app.BUDGET)
    return app._Collector(settings, budget, Metrics(budget), Batcher(settings, lambda *_: None))


def test_whatever_goes_wrong_producers_are_asked_for_again(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = iter([KeyError("odd")])

    def listed(_: Settings) -> list[Producer]:
        for fault in faults:
            raise fault
        return []

    monkeypatch.setattr(producers, "listed", listed)
    monkeypatch.setattr(app, "_REFRESH_SECONDS", 0.01)
    made = _unserved(settings)
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(made.refresh(), 0.5))
    assert made.producers == []


def test_a_body_that_comes_too_slowly_is_given_up(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "_BODY_SECONDS", 0.2)
    token, made = producers.add(settings, "tardy", ["search"], 10), _unserved(settings)
    made.producers = producers.listed(settings)

    async def receive() -> dict[str, object]:
        await asyncio.sleep(0.05)
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def collect() -> None:
        request = Request({"type": "http", "headers": [], "method": "POST"}, receive)
        with pytest.raises(limits.Refusal) as refused:
            await asyncio.wait_for(made.collect(request, token), 10)
        assert refused.value.status == 408

    asyncio.run(collect())
    assert made.budget.held == 0
