"""What the collector publishes is what the lander takes out of it."""

from __future__ import annotations

import pytest

from wayfare.collector.sinks import _messages
from wayfare.landing.lines import MAX_LINE
from wayfare.landing.messages import Event, events_of


@pytest.mark.parametrize("size", [60, 730, 1_400, (1 << 20) - 1])
def test_every_event_comes_out_as_it_went_in(size: int) -> None:
    """Values as short as these make a body past the longest line one event: no array may be."""
    raws = [b'{"id":%d,"a":[%s]}' % (n, b",".join([b"0"] * ((size - 20) // 2))) for n in range(3_000_000 // size)]
    sent = list(_messages([Event(1, raw) for raw in [*raws, b"\xff", b"{}"]]))
    assert max(len(body) for body, _ in sent) <= MAX_LINE
    taken = [e.raw for body, kind in sent for e in events_of(body, kind)]
    assert sorted(taken) == sorted([*raws, b"\xff", b"{}"])
