"""Landing from a queue: consume in batches, stage, then acknowledge.

A message is acknowledged once its events are committed, so whatever dies in between is delivered again, and what was
staged already is a duplicate by its event_id. What is out with one lander is bounded: the rest waits at the broker
while PostgreSQL is slow or away. Nothing is taken while the database is not ready for it: brokers count how often they
delivered a message, and may drop it.
"""

from __future__ import annotations

import logging
import time
from contextlib import closing
from typing import TYPE_CHECKING

from wayfare.errors import ConfigurationError, ServiceError, ZoneError
from wayfare.landing.brokers import BrokerQueue, broker_url, is_redis
from wayfare.landing.messages import BATCH_EVENTS, Delivery, MessageStager, RawEvent, events_of, message_decoder
from wayfare.landing.redis_lists import RedisQueue
from wayfare.staging import database
from wayfare.staging.incoming import MAX_LINE, Landed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from threading import Event

    from wayfare.landing.messages import MessageDecoder
    from wayfare.settings import Settings

_BATCH_BYTES = 32 << 20
_BATCH_SECONDS = 0.5
_LONGEST_WAIT = 30.0

_log = logging.getLogger(__name__)


def land_queue(settings: Settings, stop: Event, *, name: str | None = None) -> Landed:
    """Land the events of the queue `name` (default: the setting's) until `stop` is set, and say what became of them.

    A broker or a database that goes away, or is not migrated yet, is waited for. The batch at hand is finished before
    it returns.

    Raises
    ------
    ConfigurationError
        No broker or no database is configured.
    DataError
        PostgreSQL rejects what a message holds; the message stays with the broker.
    ZoneError
        The database was filled with days of another zone; no message is taken.
    """
    url, database_url, name = broker_url(settings), settings.url("landing"), name or settings.queue_name
    source = RedisQueue if is_redis(url) else BrokerQueue
    with message_decoder(settings) as decode, closing(MessageStager(settings)) as stage:
        lander = _Lander(decode, stage, name, stop)
        while not stop.is_set():
            try:
                database.check(database_url, settings.timezone)
                with source(url, name) as queue:
                    lander.consume(queue)
            except ZoneError:
                raise
            except (ServiceError, ConfigurationError) as error:
                _log.warning("%s; trying again", error)
                stop.wait(lander.backoff())
        return lander.landed


class _Lander:
    """Batches messages of one queue; what is at hand when a connection breaks, the broker delivers again."""

    def __init__(self, decode: MessageDecoder, stage: MessageStager, name: str, stop: Event) -> None:
        self._decode = decode
        self._stage = stage
        self._name = name
        self._stop = stop
        self._failures = 0
        self.landed = Landed()

    def consume(self, queue: RedisQueue | BrokerQueue) -> None:
        """Land until told to stop.

        Raises
        ------
        ServiceError
            The broker does not answer.
        """
        while not self._stop.is_set():
            batch, refused = self._filled(queue), set[int]()
            if batch and all(self._staged(events) for events in _slices(batch, refused)):
                queue.acknowledge(sorted(refused))
            self._failures = 0

    def backoff(self) -> float:
        """Seconds to wait before the next attempt: doubled each time that nothing came of the last."""
        self._failures += 1
        return float(min(_LONGEST_WAIT, 0.25 * 2**self._failures))

    def _filled(self, queue: RedisQueue | BrokerQueue) -> list[Delivery]:
        """Messages: received until a batch is full, its oldest has waited long enough, or we are to stop."""
        batch, size, due = list[Delivery](), 0, 0.0
        while not self._stop.is_set() and len(batch) < BATCH_EVENTS and size < _BATCH_BYTES:
            left = due - time.monotonic() if batch else _BATCH_SECONDS
            if left <= 0:
                break
            deliveries = queue.receive(left, BATCH_EVENTS - len(batch))
            if not batch:
                due = time.monotonic() + _BATCH_SECONDS
            batch += deliveries
            size += sum(len(delivery.body) for delivery in deliveries)
        return batch

    def _staged(self, events: list[RawEvent]) -> bool:
        """Whether the events came to be staged before we were told to stop."""
        incoming = self._decode(events, f"queue:{self._name}")
        while True:
            try:
                self.landed += self._stage(incoming).landed
            except (ServiceError, ConfigurationError) as error:
                _log.warning("%s; trying again", error)
                if self._stop.wait(self.backoff()):
                    return False
            else:
                return True


def _slices(batch: list[Delivery], refused: set[int]) -> Iterator[list[RawEvent]]:
    """The events of a batch's messages, so many at a time; `refused` gains places of messages not to be kept whole."""
    events = list[RawEvent]()
    for i, delivery in enumerate(batch):
        for event in events_of(delivery.body, delivery.content_type):
            if len(event.raw) > MAX_LINE:
                refused.add(i)
            events.append(event)
            if len(events) == BATCH_EVENTS:
                yield events
                events = []
    if events:
        yield events
