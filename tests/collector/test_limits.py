"""Rates of producers."""

from __future__ import annotations

import pytest

from wayfare.collector.limits import Bucket, Refusal


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
