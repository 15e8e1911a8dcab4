"""Landing from a queue: consume in batches, stage, then acknowledge.

A message is acknowledged once its events are committed, so whatever dies in between is delivered again, and what was
staged already is a duplicate by its event_id. At most `PREFETCH` messages are out with one lander: the rest waits at
the broker while PostgreSQL is slow or away.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from kombu.connection import Connection
from kombu.entity import Queue
from kombu.exceptions import OperationalError
from kombu.messaging import Consumer

from wayfare.errors import ConfigurationError, ServiceError
from wayfare.landing.messages import Event, MessageDecoder, MessageStager, events_of
from wayfare.staging.incoming import MAX_RAW, Landed

if TYPE_CHECKING:
    from threading import Event as Flag

    from kombu.message import Message

    from wayfare.settings import Settings

PREFETCH = 10_000
"""Messages delivered and not acknowledged, at most: two batches of messages of one event each."""

VISIBILITY_SECONDS = 300
"""Where the broker has no acknowledgments of its own (Redis), after how long an unacknowledged message comes again."""

_BATCH_EVENTS = 5_000
_BATCH_BYTES = 32 << 20
_BATCH_SECONDS = 0.5
_LONGEST_WAIT = 30.0

_log = logging.getLogger(__name__)


def land_queue(
    settings: Settings, stop: Flag, *, name: str | None = None, visibility_seconds: float = VISIBILITY_SECONDS
) -> Landed:
    """Land the events of the queue `name` (default: the setting's) until `stop` is set, and say what became of them.

    A broker or a database that goes away is waited for. The batch at hand is finished before it returns.

    Raises
    ------
    ConfigurationError
        No broker is configured, the queue cannot be used, or the schema is older than the contracts.
    """
    url = broker_url(settings)
    with MessageDecoder(settings) as decode, MessageStager(settings) as stage:
        lander = _Lander(decode, stage, name or settings.queue_name, stop)
        while not stop.is_set():
            connection = broker(url, visibility_seconds)
            try:
                with connection:
                    connection.connect()
                    lander.consume(connection)
            except (*connection.connection_errors, *connection.channel_errors, OperationalError) as error:
                _log.warning("the broker %s does not answer: %s; trying again", connection.as_uri(), error)
                stop.wait(lander.backoff())
        return lander.landed


def broker_url(settings: Settings) -> str:
    """URL of the configured broker.

    Raises
    ------
    ConfigurationError
        None is configured.
    """
    if settings.queue_url is None:
        raise ConfigurationError("no message broker: set WAYFARE_QUEUE_URL, like amqp://user:password@host:5672/")
    return settings.queue_url.get_secret_value()


def broker(url: str, visibility_seconds: float = VISIBILITY_SECONDS) -> Connection:
    """A connection, not yet open, that waits for the broker's confirmation of what it publishes; a context manager."""
    transport, options = None, dict[str, Any](confirm_publish=True)
    if url.startswith(("redis:", "rediss:")):
        from wayfare.landing.redis_lists import Transport

        transport, options = Transport, {"visibility_timeout": visibility_seconds, "socket_connect_timeout": 10}
    return Connection(url, transport=transport, connect_timeout=10, transport_options=options)


def declared(connection: Connection, name: str) -> Queue:
    """The queue as the broker has it; made, to survive the broker's restart, where there is none."""
    try:
        with connection.channel() as channel:
            Queue(name, channel=channel).queue_declare(passive=True)
    except connection.channel_errors:
        with connection.channel() as channel:
            Queue(name, channel=channel, durable=True).queue_declare()
    return Queue(name)


class _Lander:
    """Batches messages of one queue; what is pending when a connection breaks, the broker delivers again."""

    def __init__(self, decode: MessageDecoder, stage: MessageStager, name: str, stop: Flag) -> None:
        self._decode = decode
        self._stage = stage
        self._name = name
        self._stop = stop
        self._pending: list[tuple[Message, bool]] = []
        self._events: list[Event] = []
        self._bytes = 0
        self._due = 0.0
        self._failures = 0
        self.landed = Landed()

    def consume(self, connection: Connection) -> None:
        """Land until told to stop; leaves with the connection's errors."""
        self._clear()
        queue = declared(connection, self._name)
        with connection.channel() as channel:
            consumer = Consumer(channel, [queue], on_message=self._take, prefetch_count=PREFETCH, auto_declare=False)
            with consumer:
                while not self._stop.is_set():
                    self._fill(connection)
                    self._finish()
                    self._failures = 0

    def backoff(self) -> float:
        """Seconds to wait before the next attempt: doubled each time that nothing came of the last."""
        self._failures += 1
        return float(min(_LONGEST_WAIT, 0.25 * 2**self._failures))

    def _fill(self, connection: Connection) -> None:
        """Receive until a batch is full or its oldest message has waited long enough."""
        while not (self._stop.is_set() or len(self._events) >= _BATCH_EVENTS or self._bytes >= _BATCH_BYTES):
            left = self._due - time.monotonic() if self._pending else _BATCH_SECONDS
            if left <= 0:
                return
            try:
                connection.drain_events(timeout=left)
            except TimeoutError:
                return

    def _take(self, message: Message) -> None:
        if not self._pending:
            self._due = time.monotonic() + _BATCH_SECONDS
        body = message.body
        raw = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else bytes(body or b"")
        events = events_of(raw, message.content_type)
        self._pending.append((message, all(len(e.raw) <= MAX_RAW for e in events)))
        self._events += events
        self._bytes += len(raw)

    def _finish(self) -> None:
        """Stage what is pending, waiting for the database as long as it takes, and acknowledge it.

        A message with an event too long to be kept whole is refused instead: a broker that has a dead-letter exchange
        for the queue keeps it there.
        """
        if self._events and not self._staged():
            return
        for message, whole in self._pending:
            if whole:
                message.ack()
            else:
                message.reject()
        self._clear()

    def _staged(self) -> bool:
        """Whether the events came to be staged before we were told to stop."""
        incoming = self._decode(self._events, f"queue:{self._name}")
        while True:
            try:
                self.landed += self._stage(incoming).landed
            except ServiceError as error:
                _log.warning("%s; trying again", error)
                if self._stop.wait(self.backoff()):
                    return False
            else:
                return True

    def _clear(self) -> None:
        self._pending, self._events, self._bytes = [], [], 0
