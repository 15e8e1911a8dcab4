"""DuckDB connections as every package needs them: in memory, in UTC, without a progress bar on somebody's output."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from typing import TYPE_CHECKING, Any

import duckdb

from wayfare.errors import ConfigurationError, ServiceError, WayfareError
from wayfare.storage import ABANDONED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import pyarrow as pa

    from wayfare.settings import Settings


def connect(**config: str | bool | float | list[str]) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB in memory with the given configuration.

    The zone, its cursors' too, is set after connecting: until then the extension that knows zones is not loaded.
    """
    connection = duckdb.connect(":memory:", config=config)
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")
    return connection


@contextlib.contextmanager
def spilling(
    settings: Settings, *, threads: int, **config: str | bool | float | list[str]
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB with the memory of the settings, which spills to a folder of its own until the context ends.

    Two processes that share a folder overwrite each other's files. What killed ones left over a day ago is removed.
    """
    settings.spill_dir.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(settings.spill_dir)
    with (
        tempfile.TemporaryDirectory(dir=settings.spill_dir, ignore_cleanup_errors=True) as spill,
        _in_use(spill),
        connect(
            memory_limit=settings.duckdb_memory_limit, threads=threads, temp_directory=spill, **config
        ) as connection,
    ):
        yield connection


def _remove_abandoned(spill_dir: Path) -> None:
    oldest = time.time() - ABANDONED.total_seconds()
    for folder in spill_dir.iterdir():
        with contextlib.suppress(OSError):  # a lander at work since days, or another process was quicker
            if folder.stat().st_mtime < oldest:
                with _in_use(folder):
                    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _in_use(folder: str | Path) -> Iterator[None]:
    """Lock a folder; a process that is killed holds no lock."""
    place = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(place)


def select(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: dict[str, Any] | None = None, **tables: pa.Table
) -> pa.Table:
    """The rows of a query over Arrow tables, which it knows by these names."""
    for name, table in tables.items():
        connection.register(name, table)
    try:
        return connection.sql(sql, params=parameters).to_arrow_table()
    finally:
        for name in tables:
            connection.unregister(name)


def literal(text: str) -> str:
    """A SQL string literal.

    >>> literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def literals(texts: Iterable[str]) -> str:
    """A SQL list of string literals.

    >>> literals(["a", "it's"])
    "['a', 'it''s']"
    """
    return f"[{', '.join(map(literal, texts))}]"


def out_of_memory(what: str, why: object, spill: object = "the spill folder") -> WayfareError:
    """The error of a step, `what`, for which DuckDB has no more memory, or no room on disk to `spill` to.

    `why` is DuckDB's own message.
    """
    if "max_temp_directory_size" in str(why):
        return ServiceError(f"{what}: there is no more room in {spill} to spill to: {why}")
    return ConfigurationError(
        f"{what} takes more memory than DuckDB is given; raise WAYFARE_DUCKDB_MEMORY_LIMIT or lower "
        f"WAYFARE_CHUNK_ROWS: {why}"
    )
