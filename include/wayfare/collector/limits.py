"""What one producer, and all of them together, may ask of the collector."""

from __future__ import annotations

import math
import time
import zlib
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import Request

MAX_BODY = 8 << 20
"""Bytes of a request's body, as sent and once decompressed."""

MAX_EVENTS = 10_000
"""Events of one request."""

MAX_MEMBERS = 1_000
"""Members of a gzip body; what follows one is copied at its end, so that millions of empty ones take many seconds."""

_LEAST = 16 << 10
_CHUNK = 64 << 10
_LENGTH_DIGITS = 12


class Refusal(Exception):  # noqa: N818  # it is an answer to a request, no error of the program
    """A request that is answered without looking at its events."""

    def __init__(self, status: int, reason: str, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after


class Budget:
    """Bytes of request bodies held at a time: `total` for all producers, half of it for one.

    Past it requests are refused, not kept waiting.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._of_producer = Counter[str]()

    @property
    def held(self) -> int:
        """Bytes held now."""
        return self._of_producer.total()

    @contextmanager
    def reserve(self, producer: str) -> Iterator[Reservation]:
        """A request's share, given back at its end.

        Raises
        ------
        Refusal
            Too much is held already, by the producer or by all of them.
        """
        reservation = Reservation(self, producer)
        try:
            reservation.grow(_LEAST)
            yield reservation
        finally:
            self._of_producer[producer] -= reservation.size

    def take(self, producer: str, size: int) -> None:
        """Hold `size` bytes more."""
        if self.held + size > self._total or self._of_producer[producer] + size > self._total // 2:
            raise Refusal(503, "overloaded", "the collector holds all it can; send the request again a little later", 1)
        self._of_producer[producer] += size


@dataclass
class Reservation:
    """What one request holds of the budget."""

    budget: Budget
    producer: str
    size: int = 0

    def grow(self, size: int) -> None:
        """Hold `size` bytes more."""
        self.budget.take(self.producer, size)
        self.size += size


class Bucket:
    """A token bucket that may go into debt: a producer that sent more than its rate waits until it is paid off."""

    def __init__(self, per_second: int) -> None:
        self.per_second = per_second
        self._tokens = float(per_second)
        self._at = time.monotonic()

    def check(self) -> None:
        """Refuse whoever is in debt."""
        now = time.monotonic()
        self._tokens = min(self.per_second, self._tokens + (now - self._at) * self.per_second)
        self._at = now
        if self._tokens <= 0:
            wait = math.ceil((1 - self._tokens) / self.per_second)
            raise Refusal(429, "rate_limited", f"at most {self.per_second:,} events a second; wait {wait} s", wait)

    def spend(self, events: int) -> None:
        """Count what was sent."""
        self._tokens -= events


async def read_body(request: Request, reservation: Reservation) -> bytes:
    """A request's body, decompressed; what it holds at any time is bounded.

    Raises
    ------
    Refusal
        It is too large, compressed in a way we do not know, or damaged.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip"}:
        raise Refusal(415, "bad_encoding", f"content-encoding {encoding[:40]!r}; send gzip, or none")
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or len(length) > _LENGTH_DIGITS or int(length) > MAX_BODY:
        raise _too_large()
    body, gunzip, sent = bytearray(), _Gunzip() if encoding == "gzip" else None, 0
    async for chunk in request.stream():
        sent += len(chunk)
        if sent > MAX_BODY:
            raise _too_large()
        for piece in gunzip.pieces(chunk) if gunzip else (chunk,):
            reservation.grow(len(piece))
            body += piece
            if len(body) > MAX_BODY:
                raise _too_large()
    if gunzip and not gunzip.whole:
        raise Refusal(400, "bad_gzip", "the body is cut off in the middle of its gzip stream")
    return bytes(body)


def _too_large() -> Refusal:
    return Refusal(413, "too_large", f"a body has at most {MAX_BODY >> 20} MiB once decompressed; send several")


class _Gunzip:
    """Decompresses gzip, one member after the other, in pieces of bounded size."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=31)
        self._members = 0
        self.whole = True

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """What `chunk` adds; `whole` says afterwards whether a member has ended with it."""
        piece = b""
        while chunk or len(piece) == _CHUNK:
            try:
                piece = self._stream.decompress(chunk, _CHUNK)
            except zlib.error as error:
                raise Refusal(400, "bad_gzip", f"the body is not a gzip stream: {error}") from None
            yield piece
            chunk, self.whole = self._stream.unconsumed_tail, self._stream.eof
            if self.whole:
                self._members += 1
                if self._members > MAX_MEMBERS:
                    raise Refusal(
                        400, "bad_gzip", f"the body has more than {MAX_MEMBERS:,} gzip members; compress it once"
                    )
                chunk, piece = self._stream.unused_data, b""
                self._stream = zlib.decompressobj(wbits=31)
