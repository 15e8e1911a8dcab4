"""Message brokers through kombu: publishing to any of them, taking from those that have acknowledgments of their own.

Taking from Redis is in `wayfare.landing.redis_lists`.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from kombu.connection import Connection
from kombu.entity import Queue
from kombu.exceptions import OperationalError
from kombu.messaging import Consumer
from kombu.transport import TRANSPORT_ALIASES, pyamqp

from wayfare.errors import ConfigurationError, ServiceError
from wayfare.landing.messages import Delivery

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kombu.message import Message

    from wayfare.settings import Settings

PREFETCH = 10_000
"""Messages delivered and not acknowledged, at most: two batches of messages of one event each."""

_ANSWER_SECONDS = 10


def broker_url(settings: Settings) -> str:
    """URL of the configured broker.

    Raises
    ------
    ConfigurationError
        None is configured, or it is no URL of a broker; the message does not quote it, for it holds a password.
    """
    like = "like amqp://user:password@host:5672/"
    if settings.queue_url is None:
        raise ConfigurationError(f"no message broker: set WAYFARE_QUEUE_URL, {like}")
    url = settings.queue_url.get_secret_value()
    if not all(map(_names_a_broker, url.split(";"))):  # kombu's list of brokers, each for when those before are away
        raise ConfigurationError(
            f"WAYFARE_QUEUE_URL is no URL of a broker: write it {like}, or redis://:password@host:6379/0, and in the "
            "password %2F for a slash, %3F for a question mark, %23 for a hash sign"
        )
    return url


def _names_a_broker(url: str) -> bool:
    try:
        parts = urlsplit(url)
        is_place = parts.port != 0 and "@" not in parts.path + parts.query + parts.fragment  # else it ended too early
    except ValueError:
        return False
    return is_place and parts.scheme.partition("+")[0] in TRANSPORT_ALIASES


def is_redis(url: str) -> bool:
    """Whether the broker is Redis, which has lists and no acknowledgments."""
    return url.startswith(("redis:", "rediss:"))


def broker(url: str) -> Connection:
    """A connection, not yet open, that waits for the broker's confirmation of what it publishes; a context manager."""
    patience = {"socket_connect_timeout": _ANSWER_SECONDS, "socket_timeout": _ANSWER_SECONDS} if is_redis(url) else {}
    return Connection(url, connect_timeout=_ANSWER_SECONDS, transport_options={"confirm_publish": True, **patience})


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
        self._connection = broker(url)
        self._name = name
        self._held: list[Message] = []

    def __enter__(self) -> Self:
        with self._service_errors(), ExitStack() as stack:
            stack.enter_context(self._connection)
            queue = declared(self._connection, self._name)
            channel = stack.enter_context(self._connection.channel())
            channel.Message = _AsItCame
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


class _AsItCame(pyamqp.Message):
    """A message whose body is not decompressed: kombu does so to whatever size it has, or fails at what it cannot."""

    def __init__(self, msg: Any, channel: Any = None, **kwargs: Any) -> None:
        msg.properties.get("application_headers", {}).pop("compression", None)
        super().__init__(msg, channel, **kwargs)  # type: ignore[no-untyped-call]  # kombu leaves it untyped


def _delivery(message: Message) -> Delivery:
    body = message.body
    raw = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else bytes(body or b"")
    return Delivery(raw, message.content_type)
