"""Landing messages: what a queue or a request carries, staged as one batch, with what became of each event.

A body holds one event, an array of events, or one event per line where its content type says so. The collector, which
has judged what it publishes, says where a body is one event whatever it looks like.
"""

from __future__ import annotations

import math
import re
from codecs import BOM_UTF8
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Literal

import msgspec

from wayfare.landing.decode import decoder
from wayfare.landing.lines import Lines, decoded
from wayfare.staging.batches import Stager
from wayfare.staging.incoming import CONFLICT, MAX_LINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from wayfare.settings import Settings
    from wayfare.staging.incoming import Incoming, Rejection, Staged

    MessageDecoder = Callable[[Sequence["RawEvent"], str], Incoming]
    """What a batch of a source stages of these events, whose ordinals are their positions."""

LINES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"})
"""Content types of one event per line."""

ONE = "application/vnd.wayfare.event"
"""Content type of a body that is not taken apart."""

BATCH_EVENTS = 5_000
"""Events that a lander of a queue stages at a time."""

_VALUE_BYTES = 8
"""Fewest bytes of a body for each comma or line in it: a value of an event takes more, with its name."""

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*+(?:"|\Z)|[\[\]{},]', re.DOTALL)
_MARKS = 2_000_000
_NESTING = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}

Status = Literal["landed", "duplicate", "conflict", "rejected", "queued"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as a broker delivered it."""

    body: bytes
    content_type: str | None


@dataclass(frozen=True, slots=True)
class RawEvent:
    """One event as it came; `line` is its place in its body, from 1."""

    line: int
    raw: bytes


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one event; where it is not staged, why, the field at fault and what to do."""

    status: Status
    reason: str | None = None
    field: str | None = None
    message: str | None = None


def events_of(body: bytes, content_type: str | None, most: float = math.inf) -> Iterator[RawEvent]:
    """The events of a body, one by one: millions of small values take many times the memory of their body.

    Blank lines are skipped. What cannot be split is one event, for the decoder to judge. After `most` events, no more
    are looked for.
    """
    for line, raw in enumerate(_parts(body.removeprefix(BOM_UTF8), content_type, most), start=1):
        if raw.strip(b" \t\r\n"):
            yield RawEvent(line, raw)


def _parts(body: bytes, content_type: str | None, most: float) -> Iterable[bytes]:
    kind = media_type(content_type)
    lines = kind in LINES
    if kind == ONE:
        return [body]
    if len(body) > MAX_LINE and body.count(b"\n" if lines else b",") > len(body) // _VALUE_BYTES:
        return [body]
    if lines:
        return (line.removesuffix(b"\n") for line in BytesIO(body))
    if body.lstrip()[:1] != b"[":
        return [body]
    try:
        return map(bytes, msgspec.json.decode(body, type=list[msgspec.Raw]))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _split(body, most)


def _split(body: bytes, most: float) -> list[bytes]:
    """The elements of an array of which one is damaged or nested too deep, so that it costs itself alone.

    A body of nothing but brackets, commas or strings would take many seconds, and is one event.
    """
    if sum(map(body.count, (*_NESTING, b","))) + body.count(b'"') // 2 > _MARKS:
        return [body]
    start, depth, parts = body.index(b"[") + 1, 1, list[bytes]()
    for found in _TOKEN.finditer(body, start):
        depth += _NESTING.get(found[0], 0)
        if depth == 0 or (depth == 1 and found[0] == b","):
            parts.append(body[start : found.start()])
            start = found.end()
            most -= bool(parts[-1].strip())
            if most <= 0:
                return parts
        if depth == 0:
            break
    return [body] if depth or body[start:].strip() else parts


def media_type(content_type: str | None) -> str:
    """A content type without its parameters, in lower case."""
    return (content_type or "").partition(";")[0].strip().lower()


@contextmanager
def message_decoder(settings: Settings) -> Iterator[MessageDecoder]:
    """A decoder of events, not to be shared between threads."""
    with decoder(settings) as decode:
        yield lambda events, source: decode(
            Lines.of(source, "jsonl", [(e.line, e.raw, decoded(e.raw, e.line)) for e in events])
        )


class MessageStager:
    """Stages batches over a connection that is kept, and made again once it has failed; to be closed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stager: Stager | None = None

    def close(self) -> None:
        """Close the connection."""
        if self._stager:
            self._stager.close()
            self._stager = None

    def __call__(self, incoming: Incoming) -> Staged:
        """Stage one batch.

        Raises
        ------
        ConfigurationError
            The schema is older than the contracts, or of another revision than the code's.
        DataError
            PostgreSQL rejects this data, whenever it is staged.
        ServiceError
            PostgreSQL gave up; nothing of this batch is staged, and it may be staged again.
        """
        try:
            self._stager = self._stager or Stager(self._settings)
            return self._stager.stage(incoming)
        except BaseException:
            self.close()
            raise


def outcomes(staged: Staged, count: int) -> list[Outcome]:
    """What became of each of the `count` events of a batch, in their order."""
    others = {ordinal: Outcome("duplicate") for ordinal in staged.duplicates}
    others |= {rejection.ordinal: refused(rejection) for rejection in staged.refused}
    return [others.get(ordinal, _LANDED) for ordinal in range(count)]


_LANDED = Outcome("landed")


def refused(rejection: Rejection) -> Outcome:
    """The outcome of an event that is refused."""
    status: Status = "conflict" if rejection.reason == CONFLICT else "rejected"
    return Outcome(status, rejection.reason, rejection.field, rejection.message)
