"""DuckDB sessions: in memory, bounded by the settings, in UTC."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import duckdb

from wayfare import duck, storage
from wayfare.engines.asked_once import AskedOnce
from wayfare.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wayfare.settings import Settings


@contextlib.contextmanager
def session(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB connection with the settings' limits, which can read and write the settings' storage.

    Raises
    ------
    ConfigurationError
        What is asked of it needs more memory than the settings give it.
    ServiceError
        A disk is full, an object store does not answer, or another file has come in the place of one that is read.
    """
    with duck.spilling(
        settings,
        threads=settings.duckdb_threads,
        preserve_insertion_order=False,
        force_compression="uncompressed",  # of what is kept: read once or twice, it is not worth packing
    ) as connection:
        connection.execute("SET GLOBAL parquet_metadata_cache = true")  # for its cursors too
        if not storage.is_local(settings.storage):
            connection.register_filesystem(AskedOnce(storage.filesystem(settings.storage)[0]))
        try:
            yield connection
        except duckdb.OutOfMemoryException as error:
            raise duck.out_of_memory("this step", error, settings.spill_dir) from error
        except duckdb.Error as error:
            if "No space left on device" in str(error):
                raise ServiceError(
                    f"no space left on the disk of {settings.storage} or {settings.spill_dir}: {error}"
                ) from error
            if type(error) is not duckdb.Error:  # one of no kind of DuckDB's own is of the storage, which is Python
                raise
            why = str(error).strip().splitlines()[-1]
            raise ServiceError(
                f"{settings.storage} can no longer be read or written; run the task again: {why}"
            ) from error
