"""Landing from real brokers: what is delivered again, what is poison, and what waits."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import amqp
import psycopg
import pytest
from kombu.connection import Connection
from pydantic import SecretStr
from redis.exceptions import OutOfMemoryError

import wayfare
from landing.sample_events import event, query
from waiting import until
from wayfare.errors import DataError, ZoneError
from wayfare.landing import brokers, queue, redis_lists
from wayfare.landing.messages import MessageStager, message_decoder
from wayfare.landing.queue import land_queue
from wayfare.landing.redis_lists import RedisQueue
from wayfare.staging.incoming import Landed
from wayfare.staging.locks import BATCH_LOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from brokers import Broker
    from wayfare.local.postgres import EmbeddedPostgres
    from wayfare.settings import Settings

POISON = [b"not json", b"\xff\xfe\x00\n\x01", b'"no object"', b'{"event_type": "serach"}']


@pytest.fixture(params=["rabbitmq", "redis"])
def broker(request: pytest.FixtureRequest) -> Broker:
    made: Broker = request.getfixturevalue(request.param)
    return made


@pytest.fixture
def configured(settings: Settings, broker: Broker, request: pytest.FixtureRequest) -> Settings:
    """Settings with the broker and a queue of the test's own."""
    return on(settings, broker, request)


def on(settings: Settings, broker: Broker, request: pytest.FixtureRequest) -> Settings:
    patch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    patch.setenv("WAYFARE_QUEUE_URL", broker.url)
    patch.setenv("WAYFARE_QUEUE_NAME", request.node.name)
    return settings.model_copy(update={"queue_url": SecretStr(broker.url), "queue_name": request.node.name})


def publish(settings: Settings, bodies: list[bytes], content_type: str = "application/json") -> None:
    with brokers.broker(brokers.broker_url(settings)) as connection:
        brokers.declared(connection, settings.queue_name)
        for body in bodies:
            connection.Producer().publish(
                body, routing_key=settings.queue_name, content_type=content_type, content_encoding="binary"
            )


def searches(start: int, count: int) -> list[bytes]:
    return [json.dumps(event("search", n)).encode() for n in range(start, start + count)]


def staged(settings: Settings) -> int:
    return int(query(settings, "SELECT count(*) FROM staging.identity")[0][0])


def waiting(settings: Settings) -> int:
    """Messages at the broker that no lander holds."""
    with Connection(brokers.broker_url(settings)) as connection:
        declared = connection.default_channel.queue_declare(settings.queue_name, durable=True, auto_delete=False)
        return int(declared.message_count)


@contextmanager
def lander(settings: Settings) -> Iterator[list[Landed]]:
    """A lander in a thread, stopped at the end; then the list holds its account."""
    stop, account = threading.Event(), list[Landed]()
    thread = threading.Thread(target=lambda: account.append(land_queue(settings, stop)))
    thread.start()
    try:
        yield account
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


@contextmanager
def process() -> Iterator[subprocess.Popen[bytes]]:
    """`wayfare land-queue`, killed at the end."""
    command = [sys.executable, "-c", "from wayfare.cli import main; main()", "land-queue", "--json"]
    environment = os.environ | {"PYTHONPATH": str(Path(wayfare.__file__).parents[1])}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as running:
        try:
            yield running
        finally:
            running.kill()


def test_events_land_and_poison_is_kept(configured: Settings) -> None:
    publish(configured, [*searches(0, 50), *POISON, b"", *searches(0, 1)])
    publish(configured, [b"\n".join(searches(40, 40)), b"\n".join(POISON)], "application/x-ndjson")
    publish(configured, [b"[" + b",".join(searches(80, 20)) + b"]"])
    with lander(configured) as account:
        until(lambda: staged(configured) == 100 and waiting(configured) == 0)
    assert (account[0].landed, account[0].duplicates, account[0].rejected) == (100, 11, 4 + 5)
    kept = query(configured, "SELECT source, line, raw FROM staging.rejection WHERE line = 1 ORDER BY rejection_id")
    assert {(s, r) for s, _, r in kept} == {(f"queue:{configured.queue_name}", raw) for raw in POISON}
    assert waiting(configured) == 0


def test_a_large_message_is_staged_in_slices(configured: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "BATCH_EVENTS", 40)
    publish(configured, [b"[" + b",".join([*searches(0, 100), *[b"0"] * 100]) + b"]"] * 2)
    with lander(configured) as account:
        until(lambda: staged(configured) == 100)
    assert (account[0].landed, account[0].duplicates, account[0].rejected) == (100, 100, 200)
    assert query(configured, "SELECT max(landed + rejected) FROM control.batch") == [(40,)]
    assert query(configured, "SELECT count(*) FROM staging.rejection") == [(100,)]
    assert waiting(configured) == 0


def test_compressed_messages_are_poison(settings: Settings, rabbitmq: Broker, request: pytest.FixtureRequest) -> None:
    """Neither a bomb nor a compression that nobody knows ends the lander."""
    configured, packed = on(settings, rabbitmq, request), gzip.compress(b"0" * 1_000)
    with brokers.broker(rabbitmq.url) as connection:
        brokers.declared(connection, configured.queue_name)
        for compression in ("application/x-gzip", "nonsense"):
            connection.Producer().publish(
                packed, routing_key=configured.queue_name, content_type="application/json", content_encoding="binary",
                headers={"compression": compression},
            )  # fmt: skip
    publish(configured, searches(0, 1))
    with lander(configured):
        until(lambda: staged(configured) == 1)
    assert query(settings, "SELECT raw FROM staging.rejection") == [(packed,)]


def test_properties_that_cannot_be_read_are_not(
    settings: Settings, rabbitmq: Broker, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that fails at them would fail at every delivery, and what is behind would wait for ever."""
    configured, lines = on(settings, rabbitmq, request), b"\x14application/x-ndjson"
    nested = b"A\0\0\0\0"
    for _ in range(3_000):
        nested = b"A" + struct.pack("!I", len(nested)) + nested
    milliseconds = b"\x04sentT" + struct.pack("!Q", 1_790_000_000_000)
    tables = [struct.pack("!I", len(table)) + table for table in (milliseconds, b"\x01x" + nested)]
    odd = [b"\xa0\0" + lines + table for table in tables]
    odd += [b"\x84\0" + lines + b"\x10" + bytes.fromhex("0f8fad5bd9cb469fa16570867728950e"), b"\x80\0\x01\xff"]
    with brokers.broker(rabbitmq.url) as connection:
        brokers.declared(connection, configured.queue_name)
        channel = connection.default_channel
        channel.exchange_declare(request.node.name, "fanout")
        channel.queue_bind(configured.queue_name, request.node.name)
        for n, properties in enumerate(odd):
            message = amqp.Message(b"\n".join(searches(2 * n, 2 if properties.startswith(b"\xa0") else 1)))
            monkeypatch.setattr(message, "_serialize_properties", lambda properties=properties: properties)
            channel.basic_publish(message, request.node.name, routing_key=b"\xff")
    publish(configured, searches(8, 1))
    with lander(configured):
        until(lambda: staged(configured) == 7)
    assert waiting(configured) == 0


def test_waits_and_batches_are_bounded(
    settings: Settings, redis: Broker, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "_BATCH_BYTES", 1_000)
    monkeypatch.setattr(queue, "_BATCH_SECONDS", 0.05)
    monkeypatch.setattr(redis_lists, "_TAKE_BYTES", 1)
    configured, stop = on(settings, redis, request), threading.Event()
    publish(configured, [b"x" * 400] * 8)
    with (
        message_decoder(settings) as decode,
        closing(MessageStager(settings)) as stage,
        RedisQueue(redis.url, configured.queue_name) as taking,
    ):
        made = queue._Lander(decode, stage, configured.queue_name, stop)
        for messages in (3, 3, 2):
            assert len(made._filled(taking)) == messages
        assert [made.backoff() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
        threading.Timer(0.1, stop.set).start()
        made.consume(taking)
        assert made.backoff() == 0.5, "what went well begins anew"


def test_redis_takes_what_anyone_pushes_onto_the_list(
    settings: Settings, redis: Broker, request: pytest.FixtureRequest
) -> None:
    configured = on(settings, redis, request)
    odd = [b"\xff\x00", b"[" * 100_000, b'{"body": "eHg", "properties": {"delivery_tag": 1}}', b'{"body": null}']
    with Connection(redis.url) as connection:
        client = connection.default_channel.client
        client.lpush(configured.queue_name, *searches(0, 10), *odd)
        client.sadd(f"{configured.queue_name}.taken", b"\xff")
    with lander(configured):
        until(lambda: staged(configured) == 10 and waiting(configured) == 0)
    assert not client.sismember(f"{configured.queue_name}.taken", b"\xff")
    assert {raw for (raw,) in query(settings, "SELECT raw FROM staging.rejection")} == set(odd)


def test_sigterm_finishes_the_batch_and_leaves_the_rest(configured: Settings) -> None:
    publish(configured, searches(0, 300))
    with process() as running:
        until(lambda: staged(configured) > 0)
        publish(configured, searches(300, 300))
        running.send_signal(signal.SIGTERM)
        out, _ = running.communicate(timeout=30)
    landed = json.loads(out)
    assert running.returncode == 0
    assert landed["landed"] == staged(configured)
    with lander(configured):
        until(lambda: staged(configured) == 600)
    assert waiting(configured) == 0


def test_killed_before_it_acknowledged_nothing_is_lost_or_doubled(configured: Settings) -> None:
    publish(configured, searches(0, 1_000))
    with psycopg.connect(configured.url("owner")) as holding:
        holding.execute("SELECT pg_advisory_xact_lock(%s)", [BATCH_LOCK])
        with process():
            until(lambda: waiting(configured) < 1_000)
        assert staged(configured) == 0
    with lander(configured) as account:
        until(lambda: staged(configured) == 1_000 and waiting(configured) == 0)
    assert account[0].landed + account[0].duplicates == 1_000


def take_one_by_one(url: str, name: str) -> None:
    with RedisQueue(url, name) as taking:
        while True:
            taking.receive(1, 1)


def test_redis_loses_nothing_whenever_landers_or_itself_are_killed(
    settings: Settings, redis: Broker, request: pytest.FixtureRequest
) -> None:
    """Taken one by one, so that most kills find a message on its way."""
    configured, chance, fork = on(settings, redis, request), random.Random(4), multiprocessing.get_context("fork")
    for attempt in range(8):
        with Connection(redis.url) as connection:
            connection.default_channel.client.lpush(configured.queue_name, *searches(100 * attempt, 100))
        takers = [fork.Process(target=take_one_by_one, args=(redis.url, configured.queue_name)) for _ in range(2)]
        for taker in takers:
            taker.start()
        time.sleep(chance.uniform(0.03, 0.15))
        if attempt % 4 == 3:
            redis.stop()
        for taker in takers:
            taker.kill()
            taker.join()
        if attempt % 4 == 3:
            redis.start()
    with lander(configured):
        until(lambda: staged(configured) == 800 and waiting(configured) == 0)


def test_two_landers_leave_each_other_what_they_hold(
    settings: Settings, redis: Broker, request: pytest.FixtureRequest
) -> None:
    configured = on(settings, redis, request)
    publish(configured, searches(0, 10))
    with RedisQueue(redis.url, configured.queue_name) as idle:
        assert len(idle.receive(5, 4)) == 4
        with lander(configured) as account:
            until(lambda: staged(configured) == 6)
            time.sleep(2.5)
            assert staged(configured) == 6
            idle.__exit__()
            until(lambda: staged(configured) == 10)
    assert (account[0].landed, account[0].duplicates) == (10, 0)


def test_a_full_redis_refuses_events_and_is_emptied(
    settings: Settings, redis: Broker, request: pytest.FixtureRequest
) -> None:
    configured = on(settings, redis, request)
    publish(configured, searches(0, 100))
    with Connection(redis.url) as connection:
        client = connection.default_channel.client
        client.config_set("maxmemory", client.info("memory")["used_memory"] - 1_000)
        try:
            with pytest.raises(OutOfMemoryError):
                publish(configured, searches(100, 1))
            with lander(configured):
                until(lambda: staged(configured) == 100)
        finally:
            client.config_set("maxmemory", 0)


def test_brokers_restart(configured: Settings, broker: Broker) -> None:
    """Once with messages out that cannot be acknowledged any more, once with none."""
    publish(configured, searches(0, 100))
    with psycopg.connect(configured.url("owner")) as holding:
        holding.execute("SELECT pg_advisory_xact_lock(%s)", [BATCH_LOCK])
        with lander(configured):
            until(lambda: waiting(configured) == 0)
            broker.stop()
            broker.start()
            holding.rollback()
            until(lambda: staged(configured) == 100)
            publish(configured, searches(100, 100))
            until(lambda: staged(configured) == 200)
            until(lambda: waiting(configured) == 0)


def test_database_restarts(
    settings: Settings, postgres: EmbeddedPostgres, rabbitmq: Broker, request: pytest.FixtureRequest
) -> None:
    configured = on(settings, rabbitmq, request)
    publish(configured, searches(0, 10))
    with lander(configured):
        until(lambda: staged(configured) == 10)
        postgres.stop()
        try:
            publish(configured, searches(10, 90))
            until(lambda: waiting(configured) == 0)
        finally:
            postgres.start()
        until(lambda: _quietly(lambda: staged(configured)) == 100, 90)


def test_a_database_that_does_not_fit_is_waited_for(
    settings: Settings, rabbitmq: Broker, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    """Messages that a lander takes in vain come nearer to the broker's limit of deliveries each time."""
    configured = on(settings, rabbitmq, request)
    old = "ALTER TABLE staging.search RENAME COLUMN extra TO gone"
    new = "ALTER TABLE staging.search RENAME COLUMN gone TO extra"
    publish(configured, searches(0, 10))
    with psycopg.connect(settings.url("owner"), autocommit=True) as owner:
        owner.execute(old)
        with lander(configured):
            until(lambda: "does not fit this version" in caplog.text)
            assert waiting(configured) == 10
            owner.execute(new)
            until(lambda: staged(configured) == 10)
            owner.execute(old)
            caplog.clear()
            publish(configured, searches(10, 10))
            until(lambda: "does not fit this version" in caplog.text)
            assert waiting(configured) == 0
            owner.execute(new)
            until(lambda: staged(configured) == 20)
            owner.execute(old)
            publish(configured, searches(20, 10))
            until(lambda: waiting(configured) == 0)
        until(lambda: waiting(configured) == 10, 15, lambda: "stopped, it let go of what it had not staged")
        owner.execute(new)
    with pytest.raises(ZoneError, match="set WAYFARE_TIMEZONE=UTC"):
        land_queue(configured.model_copy(update={"timezone": "Asia/Tokyo"}), threading.Event())
    assert waiting(configured) == 10


def _quietly(counted: Callable[[], int]) -> int:
    with suppress(psycopg.OperationalError):
        return counted()
    return -1


def test_what_the_database_cannot_take_waits_at_the_broker(
    configured: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brokers, "PREFETCH", 40)
    monkeypatch.setattr(queue, "BATCH_EVENTS", 40)
    publish(configured, searches(0, 100))
    with psycopg.connect(configured.url("owner")) as holding:
        holding.execute("SELECT pg_advisory_xact_lock(%s)", [BATCH_LOCK])
        with lander(configured):
            until(lambda: waiting(configured) == 60)
            time.sleep(1)
            assert waiting(configured) == 60
            holding.rollback()
            until(lambda: staged(configured) == 100)


def test_what_the_database_never_takes_ends_the_lander(
    settings: Settings, rabbitmq: Broker, request: pytest.FixtureRequest
) -> None:
    configured, stop = on(settings, rabbitmq, request), threading.Event()
    with psycopg.connect(settings.url("owner")) as connection:
        connection.execute("ALTER TABLE staging.search ADD CHECK (adults < 5)")
    publish(configured, [json.dumps(event("search", 1, adults=9)).encode()])
    patience = threading.Timer(30, stop.set)
    patience.start()
    with pytest.raises(DataError, match="rejects a batch of"):
        land_queue(configured, stop)
    patience.cancel()
    assert waiting(configured) == 1


def test_what_is_too_long_to_keep_goes_to_the_dead_letters(
    settings: Settings, rabbitmq: Broker, request: pytest.FixtureRequest
) -> None:
    configured = on(settings, rabbitmq, request)
    long = b'"' + b"x" * (1 << 20)
    with brokers.broker(rabbitmq.url) as connection:
        channel = connection.default_channel
        channel.queue_declare("dead", durable=True, auto_delete=False)
        arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
        channel.queue_declare(configured.queue_name, durable=True, auto_delete=False, arguments=arguments)
        publish(configured, [long, *searches(0, 1)])
        with lander(configured):
            until(lambda: staged(configured) == 1)
        until(lambda: (dead := channel.basic_get("dead")) is not None and bytes(dead.body) == long)
    assert query(settings, "SELECT reason FROM staging.rejection") == [("line_too_long",)]


def test_what_is_too_long_to_keep_stays_in_a_list_of_redis(
    settings: Settings, redis: Broker, request: pytest.FixtureRequest
) -> None:
    configured = on(settings, redis, request)
    long = b'"' + b"x" * (1 << 20)
    with Connection(redis.url) as connection:
        client = connection.default_channel.client
        client.lpush(configured.queue_name, long, *searches(0, 1))
        with lander(configured):
            until(lambda: staged(configured) == 1)
            until(lambda: client.lrange(f"{configured.queue_name}.refused", 0, -1) == [long])
    assert query(settings, "SELECT reason FROM staging.rejection") == [("line_too_long",)]
