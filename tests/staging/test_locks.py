"""Whoever waits for an advisory lock waits as long as it takes, and says for whom."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
import pytest

from waiting import until
from wayfare.staging import bulk, locks
from wayfare.staging.locks import BATCH_LOCK

if TYPE_CHECKING:
    from wayfare.settings import Settings


@pytest.mark.parametrize("keys", [(BATCH_LOCK,), (7, -7)])
def test_who_has_it_is_told_and_waited_for(
    settings: Settings, keys: tuple[int, ...], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(locks, "LOCK_TIMEOUT", "50ms")
    url = settings.url("owner")
    with (
        ThreadPoolExecutor() as pool,
        closing(bulk.connect(url)) as connection,
        connection.cursor() as cursor,
        psycopg.connect(url, application_name="report") as holding,
    ):
        holding.execute(f"SELECT pg_advisory_xact_lock({', '.join(map(str, keys))})")
        pid = holding.info.backend_pid
        taking = pool.submit(locks.take, cursor, *keys)
        until(lambda: caplog.messages)
        holding.rollback()
        taking.result()
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone() == ("0",)
        holding.execute("SET lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            holding.execute(f"SELECT pg_advisory_xact_lock({', '.join(map(str, keys))})")
    (told,) = caplog.messages
    assert f"held by pid {pid} (account wayfare, application report" in told


def test_a_signal_ends_the_wait(settings: Settings) -> None:
    def interrupt(*_: object) -> None:
        raise InterruptedError

    url, former = settings.url("owner"), signal.signal(signal.SIGUSR1, interrupt)
    with closing(bulk.connect(url)) as connection, connection.cursor() as cursor, psycopg.connect(url) as holding:
        holding.execute("SET idle_in_transaction_session_timeout = '3s'")
        holding.execute("SELECT pg_advisory_xact_lock(7)")
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        try:
            with pytest.raises(InterruptedError):
                locks.take(cursor, 7)
        finally:
            signal.signal(signal.SIGUSR1, former)
        assert holding.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() == (0,)
