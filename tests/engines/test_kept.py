"""What DuckDB keeps for an analysis: computed once, and for no longer than it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import narwhals as nw

from wayfare import engines
from wayfare.engines.frames import keeping
from wayfare.engines.on_duckdb import DuckFrames

if TYPE_CHECKING:
    from wayfare.settings import Settings


def test_a_kept_frame_is_computed_once(settings: Settings) -> None:
    with engines.session(settings) as connection:
        kept = DuckFrames(connection).kept([nw.from_native(connection.sql("SELECT uuid() AS id FROM range(3)"))], "ids")
        first = nw.to_native(kept).order("id").fetchall()
        assert nw.to_native(kept).order("id").fetchall() == first
        assert len(set(first)) == 3


def test_what_was_kept_for_a_few_days_goes_with_them(settings: Settings) -> None:
    with engines.session(settings) as connection:
        frames, sizes = DuckFrames(connection), []
        for _ in range(4):
            with keeping(frames) as keep_all:
                kept = keep_all([nw.from_native(connection.sql("SELECT range AS n FROM range(1000000)"))])
                assert nw.to_native(kept).max("n").fetchall() == [(999_999,)]
            sizes.append(sum(file.stat().st_size for file in settings.spill_dir.rglob("kept.duckdb")))
        assert connection.sql("SELECT table_name FROM duckdb_tables()").fetchall() == []
        assert sizes[-1] < 2 * 8_000_000, "their room is used again"


def test_what_is_kept_is_not_in_memory(settings: Settings) -> None:
    elsewhere = settings.model_copy(update={"duckdb_spill": settings.home / "o'clock"})
    with engines.session(elsewhere) as connection:
        million = nw.from_native(connection.sql("SELECT range AS n FROM range(1000000)"))
        kept = DuckFrames(connection).kept([million], "million")
        assert nw.to_native(kept).max("n").fetchall() == [(999_999,)]
        held = "SELECT memory_usage_bytes + temporary_storage_bytes FROM duckdb_memory() WHERE tag = 'IN_MEMORY_TABLE'"
        assert connection.sql(held).fetchall() == [(0,)]
