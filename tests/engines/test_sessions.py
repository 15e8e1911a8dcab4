"""DuckDB sessions: the limits of the settings."""

from __future__ import annotations

import logging
import os
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from wayfare import storage
from wayfare.engines import session
from wayfare.errors import ServiceError
from wayfare.landing.decode import decoder

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from wayfare.settings import Settings


def test_a_session_has_the_limits_of_the_settings_and_works_in_utc(settings: Settings) -> None:
    small = settings.model_copy(update={"duckdb_memory_limit": "200MiB", "duckdb_threads": 1})
    with session(small) as connection:
        names = "('memory_limit', 'threads', 'TimeZone', 'enable_progress_bar')"
        found = dict(connection.sql(f"SELECT name, value FROM duckdb_settings() WHERE name IN {names}").fetchall())
    assert found == {
        "memory_limit": "200.0 MiB",
        "threads": "1",
        "TimeZone": "UTC",
        "enable_progress_bar": "false",
    }


def test_what_a_session_is_set_to_its_cursors_are(settings: Settings) -> None:
    asked = "SELECT current_setting('TimeZone'), current_setting('parquet_metadata_cache')"
    with session(settings) as connection:
        assert connection.cursor().execute(asked).fetchall() == [("UTC", True)]


def test_a_session_spills_past_its_memory_and_cleans_up(settings: Settings) -> None:
    small = settings.model_copy(update={"duckdb_memory_limit": "60MB", "duckdb_threads": 1})
    with session(small) as connection:
        made = connection.sql("SELECT range AS a, repeat('x', 60) || range AS b FROM range(1000000)")
        made.order("hash(a)").write_parquet(str(settings.home / "ordered.parquet"))
        assert connection.read_parquet(str(settings.home / "ordered.parquet")).shape == (1_000_000, 2)
        assert [place.is_dir() for place in settings.spill_dir.iterdir()] == [True], "a folder of its own"
    assert list(settings.spill_dir.iterdir()) == []


def test_a_disk_that_is_full_is_told_and_not_taken_for_too_little_memory(settings: Settings) -> None:
    small = settings.model_copy(update={"duckdb_memory_limit": "30MB", "duckdb_threads": 1})
    full = pytest.raises(ServiceError, match=f"no more room in {settings.spill_dir} to spill to")
    with full, session(small) as connection:
        connection.execute("SET max_temp_directory_size = '1MB'")
        connection.execute("CREATE TABLE ordered AS SELECT hash(range) AS h FROM range(5000000) ORDER BY h")
    with (
        pytest.raises(ServiceError, match=f"no space left on the disk of {settings.storage} or"),
        session(settings) as connection,
    ):
        connection.sql("SELECT unnest(range(1000000)) AS n").write_parquet("/dev/full")


@pytest.mark.parametrize("opened", [session, decoder])
def test_what_a_killed_session_or_lander_spilled_is_removed_after_a_day(
    settings: Settings, opened: Callable[[Settings], AbstractContextManager[object]]
) -> None:
    for name, age in (("old", 2 * 86_400), ("young", 60)):
        folder = settings.spill_dir / name
        folder.mkdir(parents=True)
        (folder / "block.tmp").write_bytes(b"x")
        os.utime(folder, (time.time() - age, time.time() - age))
    with opened(settings):
        (mine,) = {p.name for p in settings.spill_dir.iterdir()} - {"young"}
        os.utime(settings.spill_dir / mine, (0, 0))
        with opened(settings):
            assert mine in {p.name for p in settings.spill_dir.iterdir()}, "it is still at work"
    assert [p.name for p in settings.spill_dir.iterdir()] == ["young"]


def test_a_session_asks_an_object_store_about_a_file_once(anywhere: Settings, caplog: pytest.LogCaptureFixture) -> None:
    url = f"{anywhere.storage}/numbers.parquet"
    for last in (9, 99):
        with session(anywhere) as connection:
            storage.write_atomic(url, connection.sql(f"SELECT unnest(range({last + 1})) AS n").write_parquet)
        with session(anywhere) as connection, caplog.at_level(logging.INFO, "werkzeug"):
            caplog.clear()
            numbers = connection.read_parquet(url)
            for _ in range(5):
                numbers = numbers.filter("n > 0").project("n")
            assert numbers.max("n").fetchall() == [(last,)], "what another session wrote since is read"
            assert sum("HEAD /" in line for line in caplog.messages) <= 1


def test_a_file_that_another_replaces_is_not_read_on(settings: Settings, s3: str) -> None:
    """Two extractions may write a day at once, and its rows have no order: columns of both would go together."""
    url = f"{s3}/replaced/numbers.parquet"

    def write(seed: int) -> None:
        made = connection.sql(f"SELECT range AS a, 2 * range AS b FROM range(400000) ORDER BY hash(range + {seed})")
        storage.write_atomic(url, partial(made.write_parquet, compression="uncompressed"))

    told = pytest.raises(ServiceError, match=r"s3://wayfare can no longer be read .* run the task again: FileExpired")
    with told, session(settings.model_copy(update={"storage_url": s3})) as connection:
        write(seed=1)
        assert connection.read_parquet(url).aggregate("count(DISTINCT a)").fetchall() == [(400_000,)]
        write(seed=2)
        assert connection.read_parquet(url).filter("b <> 2 * a").aggregate("count(*)").fetchall() == [(0,)]
