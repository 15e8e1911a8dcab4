"""Message brokers through kombu: publishing to any of them, taking from those that have acknowledgments of their own.

Taking from Redis is in `wayfare.landing.redis_lists`.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from amqp.method_framing import frame_handler
from amqp.spec import Basic
from kombu.connection import Connection
from kombu.entity import Queue
from kombu.exceptions import OperationalError
from kombu.messaging import Consumer
from kombu.transport import TRANSPORT_ALIASES

from wayfare.errors import ConfigurationError, ServiceError
from wayfare.landing.messages import BATCH_EVENTS, Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kombu.message import Message

    from wayfare.settings import Settings

PREFETCH = 2 * BATCH_EVENTS
"""Messages delivered and not acknowledged, at most: two batches of messages of one event each."""

ANSWER_SECONDS = 10
"""Seconds in which a broker has to answer."""

_METHOD, _HEADER = 1, 2
_DELIVER = bytes((0, Basic.Deliver[0], 0, Basic.Deliver[1]))


def broker_url(settings: Settings) -> str:
    """URL of the configured broker.

    Raises
    ------
    ConfigurationError
        None is configured, or it is not the URL of a broker; the message does not quote it, for it holds a password.
    """
    like = "like amqp://user:password@host:5672/"
    if settings.queue_url is None:
        raise ConfigurationError(f"no message broker: set WAYFARE_QUEUE_URL, {like}")
    url = settings.queue_url.get_secret_value()
    if not all(map(_names_a_broker, url.split(";"))):  # kombu's list of brokers, each for when those before are away
        raise ConfigurationError(
            f"WAYFARE_QUEUE_URL is not the URL of a message broker: write it {like}, or redis://:password@host:6379/0, "
            "and percent-encode special characters in the password (%2F for /, %3F for ?, %23 for #)"
        )
    return url


def _names_a_broker(url: str) -> bool:
    try:
        parts = urlsplit(url)
        # with an @ after the place, the place ended too early
        is_place = parts.port != 0 and "@" not in parts.path + parts.query + parts.fragment
    except ValueError:
        return False
    return is_place and parts.scheme.partition("+")[0] in TRANSPORT_ALIASES


def is_redis(url: str) -> bool:
    """Whether the broker is Redis, which has lists and no acknowledgments."""
    return url.startswith(("redis:", "rediss:"))


def broker(url: str, **options: Any) -> Connection:
    """A connection, not yet open, that waits for the broker's confirmation of what it publishes; a context manager.

    `options` are of kombu's transport.
    """
    timeouts = {"socket_connect_timeout": ANSWER_SECONDS, "socket_timeout": ANSWER_SECONDS} if is_redis(url) else {}
    options |= {"confirm_publish": True, **timeouts}
    return Connection(url, connect_timeout=ANSWER_SECONDS, transport_options=options)


def declared(connection: Connection, name: str) -> Queue:
    """The queue as the broker has it; made, to survive the broker's restart, where there is none."""
    try:
        with connection.channel() as channel:
            Queue(name, channel=channel).queue_declare(passive=True)
    except connection.channel_errors:
        with connection.channel() as channel:
            Queue(name, channel=channel, durable=True).queue_declare()
    return Queue(name)


class BrokerQueue:
    """A queue of a broker that delivers again what a closed connection had not acknowledged; a context manager."""

    def __init__(self, url: str, name: str) -> None:
        self._connection = broker(url, frame_handler=_handler)
        self._name = name
        self._held: list[Message] = []

    def __enter__(self) -> Self:
        with self._service_errors(), ExitStack() as stack:
            stack.enter_context(self._connection)
            queue = declared(self._connection, self._name)
            channel = stack.enter_context(self._connection.channel())
            consumer = Consumer(
                channel, [queue], on_message=self._held.append, prefetch_count=PREFETCH, auto_declare=False
            )
            stack.enter_context(consumer)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with self._service_errors():
            self._stack.close()

    def receive(self, seconds: float, most: int) -> Sequence[Delivery]:  # noqa: ARG002  # the broker delivers one by one
        """What came within so many seconds.

        Raises
        ------
        ServiceError
            The broker does not answer.
        """
        known = len(self._held)
        with self._service_errors():
            try:
                self._connection.drain_events(timeout=seconds)
            except TimeoutError:
                return []
        return [_delivery(message) for message in self._held[known:]]

    def acknowledge(self, refused: Sequence[int]) -> None:
        """Acknowledge what was received since the last time; of that, refuse what is at these places.

        A broker that has a dead-letter exchange for the queue keeps there what is refused.

        Raises
        ------
        ServiceError
            The broker does not answer: what is not acknowledged, it delivers again.
        """
        with self._service_errors():
            for i, message in enumerate(self._held):
                if i in refused:
                    message.reject()
                else:
                    message.ack()
        self._held.clear()

    @contextmanager
    def _service_errors(self) -> Iterator[None]:
        connection = self._connection
        try:
            yield
        except (*connection.connection_errors, *connection.channel_errors, OperationalError) as error:
            raise ServiceError(f"the broker {connection.as_uri()} does not answer: {error}") from error


def _handler(connection: Any, callback: Callable[..., None]) -> Callable[[tuple[int, int, bytes]], bool]:
    """py-amqp's handler of frames, given of each message what we read: how it is delivered, its content type, its body.

    py-amqp decodes the rest where what fails ends the connection: one message with a timestamp in milliseconds, or an
    id of raw bytes, would be delivered for ever. And kombu would decompress a body to whatever size it has.
    """
    handle = frame_handler(connection, callback)

    def on_frame(frame: tuple[int, int, bytes]) -> bool:
        kind, channel, payload = frame
        if kind == _METHOD and payload.startswith(_DELIVER):
            payload = _plain_delivery(payload)
        elif kind == _HEADER:
            payload = _plain_header(payload)
        return bool(handle((kind, channel, payload)))

    return on_frame


def _plain_delivery(payload: bytes) -> bytes:
    """Arguments of basic.deliver: consumer tag, eight bytes of delivery tag, a flag; exchange and routing key empty."""
    return payload[: 5 + payload[4] + 9] + b"\0\0"


def _plain_header(payload: bytes) -> bytes:
    """A content header whose only property is the content type, where it has one that is text."""
    head, flags = payload[:12], payload[12]
    if flags & 0x80:
        content_type = payload[14 : 15 + payload[14]]
        with suppress(UnicodeDecodeError):
            content_type[1:].decode()
            return head + b"\x80\0" + content_type
    return head + b"\0\0"


def _delivery(message: Message) -> Delivery:
    return Delivery(bytes(message.body or b""), message.content_type)
