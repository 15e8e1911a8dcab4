"""Where events become durable: PostgreSQL, or a broker that confirms what it took."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from wayfare.contracts import EVENT_TYPES
from wayfare.errors import ServiceError
from wayfare.landing import brokers
from wayfare.landing.messages import ONE, MessageStager, Outcome, message_decoder, outcomes, refused
from wayfare.staging.incoming import MAX_LINE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kombu.connection import Connection

    from wayfare.collector.producers import Producer
    from wayfare.landing.messages import RawEvent
    from wayfare.settings import Settings
    from wayfare.staging.incoming import Incoming

_KNOWN = frozenset(e.type for e in EVENT_TYPES.values())


@dataclass(frozen=True, slots=True)
class Prepared:
    """Events of one producer, decoded; `forbidden` is by position among what was sent, `events` are the others."""

    count: int
    events: list[RawEvent]
    incoming: Incoming
    forbidden: dict[int, Outcome]

    def answer(self, others: list[Outcome]) -> list[Outcome]:
        """The outcome of everything that was sent, in order."""
        rest = iter(others)
        return [self.forbidden.get(i) or next(rest) for i in range(self.count)]


class Preparer:
    """Decodes events and sets aside what their producer may not send; of one thread, to be closed."""

    def __init__(self, settings: Settings) -> None:
        self._stack = ExitStack()
        self._decode = self._stack.enter_context(message_decoder(settings))

    def close(self) -> None:
        """Close its DuckDB."""
        self._stack.close()

    def __call__(self, producer: Producer, events: list[RawEvent]) -> Prepared:
        """What a batch stages of a producer's events.

        What a producer may not send is answered and not kept: a replay of rejections asks for nobody's token.
        """
        source = f"http:{producer.name}"
        incoming = self._decode(events, source)
        forbidden = _forbidden(producer, incoming)
        allowed = [event for i, event in enumerate(events) if i not in forbidden]
        if forbidden:
            incoming = self._decode(allowed, source)
        return Prepared(len(events), allowed, incoming, forbidden)


def _forbidden(producer: Producer, incoming: Incoming) -> dict[int, Outcome]:
    found = dict[int, Outcome]()
    allowed = f"producer {producer.name} may send {', '.join(sorted(producer.event_types))}"
    foreign = Outcome("rejected", "forbidden", "source", f"source must be {producer.name}, the producer's name")
    for contract, table in incoming.events:
        if contract.type not in producer.event_types:
            outcome = Outcome("rejected", "forbidden", "event_type", f"{allowed}; {contract.type} is not among them")
            wrong = table["ordinal"]
        else:
            outcome = foreign
            wrong = table["ordinal"].filter(pc.not_equal(table["source"], pa.scalar(producer.name)))
        found |= dict.fromkeys(wrong.to_pylist(), outcome)
    for rejection in incoming.rejections:  # refused today, one may land later: once its time has come, say
        if rejection.event_type in _KNOWN - producer.event_types:
            message = f"{allowed}; {rejection.event_type} is not among them"
            found[rejection.ordinal] = Outcome("rejected", "forbidden", "event_type", message)
        elif rejection.source not in {None, producer.name}:
            found[rejection.ordinal] = foreign
    return found


class Sink(Protocol):
    """Makes prepared events durable."""

    def __call__(self, prepared: Prepared) -> list[Outcome]:
        """What became of each event that was sent, once that is durable.

        Raises
        ------
        ServiceError
            It could not be made durable; the same may be sent again.
        """

    def close(self) -> None:
        """Close its connection."""


class StagingSink:
    """Stages by itself: durable is what PostgreSQL committed."""

    def __init__(self, settings: Settings) -> None:
        self._stage = MessageStager(settings)

    def __call__(self, prepared: Prepared) -> list[Outcome]:
        """Stage them as one batch."""
        if not prepared.events:
            return prepared.answer([])
        return prepared.answer(outcomes(self._stage(prepared.incoming), len(prepared.events)))

    def close(self) -> None:
        """Close its connection to PostgreSQL."""
        self._stage.close()


class QueueSink:
    """Publishes to the queue that `wayfare land-queue` lands: durable is what the broker confirmed."""

    def __init__(self, settings: Settings) -> None:
        self._url = brokers.broker_url(settings)
        self._name = settings.queue_name
        self._connection: Connection | None = None

    def __call__(self, prepared: Prepared) -> list[Outcome]:
        """Publish them, those that are refused too: the lander keeps them with the rejections."""
        messages = list(_messages(prepared.events))
        try:
            self._publish(messages)
        except Exception:  # noqa: BLE001  # a connection that the broker closed long ago says so in many ways
            self.close()
            try:
                self._publish(messages)
            except Exception as error:
                self.close()
                raise ServiceError(f"the broker does not take events: {error}") from error
        rejected = {r.ordinal: refused(r) for r in prepared.incoming.rejections}
        return prepared.answer([rejected.get(i, _QUEUED) for i in range(len(prepared.events))])

    def close(self) -> None:
        """Close its connection to the broker."""
        if self._connection:
            self._connection.release()
            self._connection = None

    def _publish(self, messages: list[tuple[bytes, str]]) -> None:
        if self._connection is None:
            self._connection = brokers.broker(self._url)
            brokers.declared(self._connection, self._name)
        producer = self._connection.Producer()
        for body, content_type in messages:
            producer.publish(
                body, routing_key=self._name, content_type=content_type, content_encoding="binary",
                mandatory=True, confirm_timeout=brokers.ANSWER_SECONDS,
            )  # fmt: skip


_QUEUED = Outcome("queued")


def _messages(events: Sequence[RawEvent]) -> Iterator[tuple[bytes, str]]:
    """Bodies and content types that split into the events that were judged: arrays, and what does not fit into one."""
    array, size = list[bytes](), 1
    for event in events:
        if not _is_element(event.raw):
            yield event.raw, ONE
            continue
        added = len(event.raw) + 1  # with the comma or the bracket after it
        if array and size + added > MAX_LINE:
            yield _packed(array)
            array, size = [], 1
        array.append(event.raw)
        size += added
    if array:
        yield _packed(array)


def _packed(array: list[bytes]) -> tuple[bytes, str]:
    return (b"[" + b",".join(array) + b"]", "application/json") if len(array) > 1 else (array[0], ONE)


def _is_element(raw: bytes) -> bool:
    """Whether an array that holds it comes apart there: it is one JSON value, and not nested too deep to be in one."""
    try:
        return len(msgspec.json.decode(b"[" + raw + b"]", type=list[msgspec.Raw])) == 1
    except (ValueError, RecursionError):
        return False
