"""The watcher announces every batch sooner or later, and no more often than landing pauses."""

from __future__ import annotations

import asyncio
import itertools
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import psycopg
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wayfare.settings import Settings


def _insert_batch(settings: Settings, batch: int) -> None:
    with psycopg.connect(settings.url("owner")) as connection:
        connection.execute("INSERT INTO control.batch VALUES (%s, now(), 'test', 1, 0, 0, 0)", (batch,))


def _watch(
    monkeypatch: pytest.MonkeyPatch, check: Callable[[Callable[[], Awaitable[dict[str, int]]]], Awaitable[None]]
) -> None:
    """Run a trigger as the triggerer does; `check` gets a function that awaits its next event."""
    from wayfare_airflow import watcher

    monkeypatch.setattr(watcher, "POLL_SECONDS", 0.02)

    async def watched() -> None:
        events = watcher.StagingTrigger().run()

        async def following() -> dict[str, int]:
            return dict((await asyncio.wait_for(anext(events), 30)).payload)

        await check(following)
        await events.aclose()

    asyncio.run(watched())


@pytest.fixture(autouse=True)
def no_debounce(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from wayfare.settings import get_settings

    monkeypatch.setenv("WAYFARE_DEBOUNCE_SECONDS", "0")
    get_settings.cache_clear()
    assert settings.home == get_settings().home


def test_batches_are_announced_whoever_landed_them(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(following: Callable[[], Awaitable[dict[str, int]]]) -> None:
        waiting = asyncio.create_task(following())  # type: ignore[arg-type]  # an async function gives a coroutine
        await asyncio.sleep(0.1)
        assert not waiting.done(), "nothing has landed yet"
        _insert_batch(settings, 1)
        assert await waiting == {"batch_id": 1}
        _insert_batch(settings, 2)
        assert await following() == {"batch_id": 2}

    _watch(monkeypatch, check)


def test_a_restart_misses_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(following: Callable[[], Awaitable[dict[str, int]]]) -> None:
        assert await following() == {"batch_id": 7}

    _insert_batch(settings, 7)
    _watch(monkeypatch, check)
    _watch(monkeypatch, check)


def test_a_lost_connection_is_made_again(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(following: Callable[[], Awaitable[dict[str, int]]]) -> None:
        assert await following() == {"batch_id": 1}
        with psycopg.connect(settings.url("owner"), autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        _insert_batch(settings, 2)
        assert await following() == {"batch_id": 2}

    _insert_batch(settings, 1)
    _watch(monkeypatch, check)


def test_a_database_that_is_not_migrated_yet_is_waited_for(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(following: Callable[[], Awaitable[dict[str, int]]]) -> None:
        waiting = asyncio.create_task(following())  # type: ignore[arg-type]  # an async function gives a coroutine
        await asyncio.sleep(0.3)
        assert not waiting.done()
        owner.execute("ALTER TABLE control.later RENAME TO batch")
        _insert_batch(settings, 1)
        assert await waiting == {"batch_id": 1}

    with psycopg.connect(settings.url("owner"), autocommit=True) as owner:
        owner.execute("ALTER TABLE control.batch RENAME TO later")
        _watch(monkeypatch, check)


def test_batches_of_a_restored_database_are_announced(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(following: Callable[[], Awaitable[dict[str, int]]]) -> None:
        assert await following() == {"batch_id": 7}
        with psycopg.connect(settings.url("owner")) as connection:
            connection.execute("UPDATE control.batch SET batch_id = 3")
        assert await following() == {"batch_id": 3}
        _insert_batch(settings, 4)
        assert await following() == {"batch_id": 4}

    _insert_batch(settings, 7)
    _watch(monkeypatch, check)


def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from wayfare.settings import get_settings
    from wayfare.staging import connections

    async def check(following: Callable[[], Awaitable[dict[str, int]]]) -> None:
        waiting = asyncio.create_task(following())  # type: ignore[arg-type]  # an async function gives a coroutine
        first, _ = await asyncio.to_thread(silent.accept)
        again, _ = await asyncio.to_thread(silent.accept)
        waiting.cancel()
        with first, again, suppress(asyncio.CancelledError):
            await waiting

    monkeypatch.setitem(connections._OPTIONS, "connect_timeout", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(20)
        monkeypatch.setenv("WAYFARE_DATABASE_URL", f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/nowhere")
        get_settings.cache_clear()
        _watch(monkeypatch, check)


def test_metadata_gets_no_password() -> None:
    from wayfare_airflow.assets import STAGING

    (watcher,) = STAGING.watchers
    assert watcher.trigger.serialize() == ("wayfare_airflow.watcher.StagingTrigger", {})


_LANDINGS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3)), min_size=1, max_size=30)


@hypothesis_settings(max_examples=100, deadline=None)
@given(_LANDINGS)
def test_debounce_announces_the_last_batch_and_paces_itself(landings: list[tuple[int, int]]) -> None:
    from wayfare_airflow.watcher import MAX_QUIET_TIMES, Debounce

    debounce, now, batch = Debounce(quiet=20), 0, 0
    unseen_since: int | None = None
    announced: list[tuple[int, int]] = []
    arrivals = {}
    for pause, batches in landings:
        now += pause
        batch += batches
        arrivals[now] = batch
    newest = 0
    for second in range(now + 20 * MAX_QUIET_TIMES + 1):
        if arrivals.get(second, newest) > newest:
            newest = arrivals[second]
            unseen_since = second if unseen_since is None else unseen_since
        if debounce.due(newest, now=second):
            announced.append((second, newest))
            unseen_since = None
        assert unseen_since is None or second - unseen_since < 20 * MAX_QUIET_TIMES
    assert (announced[-1][1] if announced else 0) == batch
    times = [second for second, _ in announced]
    assert all(later - earlier >= 20 for earlier, later in itertools.pairwise(times))
    assert [number for _, number in announced] == sorted({number for _, number in announced})
