"""`Inputs.keep` as DuckDB does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import narwhals as nw

from wayfare import engines
from wayfare.engines.on_duckdb import DuckFrames

if TYPE_CHECKING:
    from wayfare.settings import Settings


def test_a_kept_frame_is_computed_once(settings: Settings) -> None:
    with engines.session(settings) as connection:
        kept = DuckFrames(connection).kept(nw.from_native(connection.sql("SELECT uuid() AS id FROM range(3)")))
        first = nw.to_native(kept).order("id").fetchall()
        assert nw.to_native(kept).order("id").fetchall() == first
        assert len(set(first)) == 3
