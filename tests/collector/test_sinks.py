"""What the collector publishes is what the lander takes out of it."""

from __future__ import annotations

import datetime as dt
import json
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pydantic import SecretStr

from landing.sample_events import event
from wayfare.collector.producers import Producer
from wayfare.collector.sinks import Preparer, QueueSink, _messages
from wayfare.landing import brokers
from wayfare.landing.messages import RawEvent, events_of
from wayfare.settings import Settings
from wayfare.staging.incoming import MAX_LINE

if TYPE_CHECKING:
    from pathlib import Path

    from brokers import Broker


@pytest.mark.parametrize("size", [60, 730, 1_400, (1 << 20) - 1])
def test_every_event_comes_out_as_it_went_in(size: int) -> None:
    """Values as short as these make a body past the longest line one event: no array may be."""
    raws = [b'{"id":%d,"a":[%s]}' % (n, b",".join([b"0"] * ((size - 20) // 2))) for n in range(3_000_000 // size)]
    sent = list(_messages([RawEvent(1, raw) for raw in [*raws, b"\xff", b"{}"]]))
    assert max(len(body) for body, _ in sent) <= MAX_LINE
    taken = [e.raw for body, kind in sent for e in events_of(body, kind)]
    assert sorted(taken) == sorted([*raws, b"\xff", b"{}"])


_EVENT = b'{"event_type":"booking"}'
_PIECES = st.sampled_from(
    [*(bytes([b]) for b in b'[]{},:"\\ \n\r1\xff'), b"tru", b'{"a":[1]}', _EVENT, b"[" * 997, b"]" * 997]
)


@given(st.lists(_PIECES, max_size=12).map(b"".join), st.sampled_from(["application/json", "application/x-ndjson"]))
@example(b"[[" + _EVENT + b"]]", "application/json")
@example(b"[" + _EVENT + b"]\n" + _EVENT, "application/x-ndjson")
@example(b"[" + _EVENT + b",tru]", "application/x-ndjson")
@example(b"1,2\n" + _EVENT + b"\n3", "application/x-ndjson")
@example(b"[" + b"[" * 998 + b"]" * 998 + b"," + _EVENT + b"]", "application/json")
@examples(max_examples=200, deadline=None)
def test_the_lander_judges_what_the_collector_judged(body: bytes, content_type: str) -> None:
    """A nested array that comes apart a second time is a way around the names and types of a producer."""
    judged = list(events_of(body, content_type))
    landed = [event.raw for message in _messages(judged) for event in events_of(*message)]
    assert sorted(raw.strip(b" \t\r\n") for raw in landed) == sorted(e.raw.strip(b" \t\r\n") for e in judged)


def test_what_no_queue_takes_is_not_called_queued(
    rabbitmq: Broker, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    name, producer = request.node.name, Producer("web", b"", frozenset({"search"}), 10, dt.datetime.now(dt.UTC), None)
    settings = Settings(home=tmp_path).model_copy(update={"queue_url": SecretStr(rabbitmq.url), "queue_name": name})
    with closing(Preparer(settings)) as prepare:
        sent = prepare(producer, [RawEvent(1, json.dumps(event("search")).encode())])
    sink = QueueSink(settings)
    with brokers.broker(rabbitmq.url) as connection:
        assert [o.status for o in sink(sent)] == ["queued"]
        connection.default_channel.queue_delete(name)
        assert [o.status for o in sink(sent)] == ["queued"]
        assert connection.default_channel.queue_delete(name) == 1
    sink.close()
