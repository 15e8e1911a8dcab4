"""Rates of producers, and sizes of bodies."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from starlette.requests import Request

from wayfare.collector import app, limits
from wayfare.collector.batcher import Batcher
from wayfare.collector.limits import Bucket, Budget, Refusal
from wayfare.collector.metrics import Metrics
from wayfare.collector.producers import Producer
from wayfare.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def test_an_idle_producer_saves_no_more_than_one_second() -> None:
    bucket = Bucket(10)
    bucket._at -= 3_600
    bucket.check()
    bucket.spend(20)
    with pytest.raises(Refusal) as refused:
        bucket.check()
    assert refused.value.retry_after == 2
    bucket._at -= 1.2
    bucket.check()


def test_a_producer_has_the_rate_that_it_was_given_last(tmp_path: Path) -> None:
    settings, budget = Settings(home=tmp_path), Budget(1)
    made = app._Collector(settings, budget, Metrics(budget), Batcher(settings, lambda *_: None))
    producer = Producer("web", b"", frozenset({"search"}), 10, dt.datetime.now(dt.UTC), None)
    assert made._bucket(producer) is made._bucket(producer)
    assert made._bucket(replace(producer, events_per_second=20)).per_second == 20


@pytest.mark.parametrize("length", [b"%d" % (limits.MAX_BODY + 1), b"0" * 5_000 + b"2"])
def test_a_body_that_says_it_is_too_large_is_not_read(length: bytes) -> None:
    async def receive() -> dict[str, object]:
        pytest.fail("it is read")

    request = Request({"type": "http", "headers": [(b"content-length", length)], "method": "POST"}, receive)
    with pytest.raises(Refusal) as refused, Budget(app.BUDGET).reserve("web") as reservation:
        asyncio.run(limits.read_body(request, reservation))
    assert refused.value.status == 413


def test_one_producer_holds_no_more_than_half() -> None:
    budget = Budget(100 << 10)
    with budget.reserve("web") as mine:
        mine.grow(34 << 10)
        with pytest.raises(Refusal), budget.reserve("web"):
            pytest.fail("it is given")
        with budget.reserve("app") as another:
            another.grow(30 << 10)
            with pytest.raises(Refusal), budget.reserve("gds"):
                pytest.fail("it is given")
            assert budget.held == 96 << 10
    assert budget.held == 0
