"""Steady load over HTTP and through the broker, by producers that send again until they are answered."""

from __future__ import annotations

import json
import random
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from wayfare import simulator
from wayfare.landing import brokers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kombu.connection import Connection

PRODUCER = "web"
TYPES = "search,view,offer,booking,purchase,cancellation,refund,travel,inventory"
POISON_EVERY = 150
POISON = (b"not json %d", b"\xff\xfe %d", b'{"event_type": "serach", "n": %d}', b'{"event_type": "search", "n": %d}')


def made(folder: Path, seed: int, minutes: float) -> tuple[list[bytes], list[bytes]]:
    """An agency's events, duplicates among them, roughly in their order; and what is none."""
    simulator.simulate(
        folder, days=8, customers=max(30, int(60 * minutes)), seed=seed, form="jsonl", duplicate_share=0.02,
        broken_share=0.0,
    )  # fmt: skip
    lines = [line for file in sorted(folder.glob("*.jsonl")) for line in file.read_bytes().splitlines()]
    chance = random.Random(seed)
    kept = [line for line in lines if b'"inventory"' not in line or chance.random() < 0.05]
    late = sorted(range(len(kept)), key=lambda i: i + chance.uniform(0, len(kept) / 4))
    events = [msgspec.json.encode({**msgspec.json.decode(kept[i]), "source": PRODUCER}) for i in late]
    return events, [POISON[n % len(POISON)] % n for n in range(len(events) // POISON_EVERY)]


@dataclass
class Account:
    """What producers sent and what they were told."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    sent: int = 0
    sent_again: int = 0
    acknowledged: set[str] = field(default_factory=set)
    rejected: set[bytes] = field(default_factory=set)
    surprises: list[str] = field(default_factory=list)

    def take(self, lines: list[bytes], poison: frozenset[bytes], attempts: int) -> None:
        """Lines that were acknowledged."""
        with self.lock:
            self.sent += len(lines)
            self.sent_again += len(lines) * (attempts - 1)
            self.rejected |= poison & set(lines)
            self.acknowledged |= {event_id(line) for line in lines if line not in poison}


def event_id(line: bytes) -> str:
    """The id in an event's line."""
    return str(json.loads(line)["event_id"])


class Load:
    """Three producers, two over HTTP and one at the broker, that share lines evenly over a time."""

    def __init__(self, events: list[bytes], poison: list[bytes], seed: int) -> None:
        self.account = Account()
        self._poison = frozenset(poison)
        chance = random.Random(seed)
        mixed = list(events)
        for line in poison:
            mixed.insert(chance.randrange(len(mixed)), line)
        self._shares = [mixed[i::3] for i in range(3)]
        self._threads: list[threading.Thread] = []

    def start(self, collector: str, token: str, queue: tuple[str, str], seconds: float) -> None:
        """Begin; `collector` is its address, `queue` the broker's URL and the queue's name."""
        senders: list[Callable[[list[bytes]], None]] = [
            OverHttp(collector, token, self.account), OverHttp(collector, token, self.account), AtBroker(*queue),
        ]  # fmt: skip
        for share, send in zip(self._shares, senders, strict=True):
            thread = threading.Thread(target=self._send_all, args=(share, send, seconds), daemon=True)
            thread.start()
            self._threads.append(thread)

    def ended(self, seconds: float) -> bool:
        """Whether everything is acknowledged, waiting so many seconds for it at most."""
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _send_all(self, lines: list[bytes], send: Callable[[list[bytes]], None], seconds: float) -> None:
        begun = time.monotonic()
        for start in range(0, len(lines), 20):
            time.sleep(max(0.0, begun + seconds * start / len(lines) - time.monotonic()))
            part, attempts = lines[start : start + 20], 1
            while True:
                try:
                    send(part)
                    break
                except Exception:  # noqa: BLE001  # whatever is away just now: what is not answered is sent again
                    attempts += 1
                    time.sleep(0.5)
            self.account.take(part, self._poison, attempts)


@dataclass
class OverHttp:
    """Sends lines to the collector."""

    address: str
    token: str
    account: Account

    def __call__(self, lines: list[bytes]) -> None:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/x-ndjson"}
        request = urllib.request.Request(f"{self.address}/v1/events", b"\n".join(lines), headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            results: list[dict[str, Any]] = json.load(answer)["results"]
        for line, result in zip(lines, results, strict=True):
            if result["status"] not in ("queued", "rejected" if b"event_id" not in line else "queued"):
                self.account.surprises.append(f"{result} for {line!r}")


@dataclass
class AtBroker:
    """Publishes to the queue: events by themselves and as lines; onto a list of Redis also by hand."""

    url: str
    name: str
    connection: Connection | None = None
    turn: int = 0

    def __call__(self, lines: list[bytes]) -> None:
        try:
            self._publish(lines)
        except Exception:
            if self.connection:
                self.connection.release()
            self.connection = None
            raise

    def _publish(self, lines: list[bytes]) -> None:
        if self.connection is None:
            self.connection = brokers.broker(self.url)
            brokers.declared(self.connection, self.name)
        self.turn += 1
        if brokers.is_redis(self.url) and self.turn % 4 == 0:
            self.connection.default_channel.client.lpush(self.name, *lines)
            return
        for body, content_type in self._bodies(lines):
            self.connection.Producer().publish(
                body, routing_key=self.name, content_type=content_type, content_encoding="binary", mandatory=True,
                confirm_timeout=10,
            )  # fmt: skip

    def _bodies(self, lines: list[bytes]) -> Iterator[tuple[bytes, str]]:
        if self.turn % 2:
            yield b"\n".join(lines), "application/x-ndjson"
            return
        yield from ((line, "application/json") for line in lines)
