"""The demonstration's events: all days of them or none, whenever somebody presses Ctrl-C."""

from __future__ import annotations

import _thread
import signal
import threading
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from landing.sample_events import event, query, write
from waiting import until
from wayfare.errors import ServiceError
from wayfare.landing import land
from wayfare.local import demo

if TYPE_CHECKING:
    from pathlib import Path

    from wayfare.settings import Settings


def test_a_simulation_that_was_interrupted_begins_anew(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        until(lambda: any(settings.home.glob("demo*/*")))
        _thread.interrupt_main()

    # a background job of a shell starts with SIGINT ignored
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(demo, "CUSTOMERS", 100)
    monkeypatch.setattr(demo, "DAYS", 1_000)
    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        demo.land_and_wait(settings, Console(quiet=True), timeout=0)
    thread.join()
    signal.signal(signal.SIGINT, before)
    monkeypatch.setattr(demo, "DAYS", 2)
    with pytest.raises(ServiceError, match="still stale"):
        demo.land_and_wait(settings, Console(quiet=True), timeout=0)
    assert query(settings, "SELECT count(DISTINCT event_on) FROM staging.view") == [(2,)]
    assert [f.name for f in settings.home.glob("demo*")] == ["demo"]


def test_no_demo_is_landed_among_other_events(settings: Settings, tmp_path: Path) -> None:
    land(settings, [write(tmp_path / "own.jsonl", [event()])])
    with pytest.raises(ServiceError, match="still stale"):
        demo.land_and_wait(settings, Console(quiet=True), timeout=0)
    assert query(settings, "SELECT count(*) FROM staging.identity") == [(1,)]
    assert list(settings.home.glob("demo*")) == []
