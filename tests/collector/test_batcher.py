"""Batches: of one producer each, of a bounded size, and answered to whoever is still there."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import threading
from typing import TYPE_CHECKING

import pytest

from landing.sample_events import event
from wayfare.collector import batcher
from wayfare.collector.batcher import Batcher
from wayfare.collector.producers import Producer
from wayfare.errors import ServiceError
from wayfare.landing.messages import Outcome, RawEvent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wayfare.settings import Settings


def _producer(name: str) -> Producer:
    return Producer(name, b"", frozenset({"search"}), 10, dt.datetime.now(dt.UTC), None)


def _searches(name: str, start: int) -> list[RawEvent]:
    return [RawEvent(1, json.dumps(event("search", start + n, source=name)).encode()) for n in range(3)]


def test_a_batch_is_of_one_producer_and_bounded(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batcher, "_BATCH_EVENTS", 7)
    batches: list[int] = []

    async def submit() -> list[list[Outcome]]:
        async with Batcher(settings, lambda events, _: batches.append(events)) as made:
            sent = enumerate(["web", "app", "web", "web", "gds"])
            return await asyncio.gather(*(made.submit(_producer(name), _searches(name, 3 * n)) for n, name in sent))

    assert asyncio.run(submit()) == [[Outcome("landed")] * 3] * 5
    assert batches == [6, 3, 3, 3]


def test_bodies_come_apart_outside_of_the_event_loop(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged array takes long to, and everybody else would wait."""

    def told(*_: object) -> Iterator[RawEvent]:
        yield RawEvent(1, threading.current_thread().name.encode())

    monkeypatch.setattr(batcher, "events_of", told)
    (event,) = asyncio.run(Batcher(settings, lambda *_: None).split(b"", "", 5))
    assert event.raw.startswith(b"decode")


def test_who_is_gone_keeps_no_answer_from_the_others(settings: Settings) -> None:
    async def submit() -> list[Outcome]:
        async with Batcher(settings, lambda *_: None) as made:
            gone, stays = (asyncio.create_task(made.submit(_producer("web"), _searches("web", n))) for n in (0, 3))
            await asyncio.sleep(0)
            gone.cancel()
            return await asyncio.wait_for(stays, 20)

    assert asyncio.run(submit()) == [Outcome("landed")] * 3


def test_a_failure_is_forgotten_where_nothing_is_sent(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A balancer sends nothing to who is ill."""

    def refuse(*_: object) -> list[Outcome]:
        raise ServiceError("away")

    async def submit() -> tuple[bool, bool]:
        async with Batcher(settings, lambda *_: None) as made:
            with monkeypatch.context() as patch:
                patch.setattr(made, "_sink", refuse)
                with pytest.raises(ServiceError):
                    await made.submit(_producer("web"), _searches("web", 0))
            failed = made.is_failing()
            monkeypatch.setattr(batcher, "_FAILING_SECONDS", 0.0)
            return failed, made.is_failing()

    assert asyncio.run(submit()) == (True, False)
