"""DuckDB sessions: in memory, bounded by the settings, in UTC."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from typing import TYPE_CHECKING

import duckdb

from wayfare import duck, storage
from wayfare.errors import ServiceError
from wayfare.storage import ABANDONED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wayfare.settings import Settings


@contextlib.contextmanager
def session(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB connection with the settings' limits, which can read and write the settings' storage.

    It spills to a folder of its own, because two processes that share one overwrite each other's files.

    Raises
    ------
    ConfigurationError
        What is asked of it needs more memory than the settings give it.
    ServiceError
        A disk is full, an object store does not answer, or another file has come in the place of one that is read.
    """
    settings.spill_dir.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(settings.spill_dir)
    with (
        tempfile.TemporaryDirectory(dir=settings.spill_dir, ignore_cleanup_errors=True) as spill,
        duck.connect(
            memory_limit=settings.duckdb_memory_limit,
            threads=settings.duckdb_threads,
            temp_directory=spill,
            preserve_insertion_order=False,
            force_compression="uncompressed",  # of what is kept: read once or twice, it is not worth packing
        ) as connection,
    ):
        connection.execute("SET GLOBAL parquet_metadata_cache = true")  # for its cursors too
        if not storage.is_local(settings.storage):
            connection.register_filesystem(storage.AskedOnce(storage.filesystem(settings.storage)[0]))
        try:
            yield connection
        except duckdb.OutOfMemoryException as error:
            raise duck.out_of_memory("this step", error, settings.spill_dir) from error
        except duckdb.Error as error:
            if "No space left on device" in str(error):
                raise ServiceError(f"a disk is full, of {settings.storage} or {settings.spill_dir}: {error}") from error
            if type(error) is not duckdb.Error:  # one of no kind of DuckDB's own is of the storage, which is Python
                raise
            why = str(error).strip().splitlines()[-1]
            raise ServiceError(f"{settings.storage} cannot be read or written any more, start again: {why}") from error


def _remove_abandoned(spill_dir: Path) -> None:
    """Remove what killed sessions left over a day ago."""
    oldest = time.time() - ABANDONED.total_seconds()
    for folder in spill_dir.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another session was quicker
            if folder.stat().st_mtime < oldest:
                shutil.rmtree(folder, ignore_errors=True)
