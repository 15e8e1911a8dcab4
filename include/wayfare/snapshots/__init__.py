"""Snapshots: immutable, content-addressed Parquet day files of the staged events.

Belongs here: which day files a chunk reads, what is in them, and writing the missing ones from PostgreSQL. Does not:
reading them (engines) or judging them (quality).

A day file is `{storage}/snapshots/{event type}/{event_on}/{batch}-{landed}.parquet`: the events of that type and day
with `batch_id <= batch`, where batch is the last one that touched the day, and landed its `landed_at` in hexadecimal
microseconds, because a database that is new or restored numbers its batches anew. Of types that refer to a sale it is
`{batch}-{landed}.{version}.parquet`, because how the sale is found may change. UUIDs (`event_id`) have Parquet's
logical type UUID (16 bytes): DuckDB reads and writes them as UUID, pyarrow as `pa.uuid()`. Whatever joins with day
files (a quarantine) keeps event_id as DuckDB's UUID.
"""

from wayfare.snapshots.dayfiles import DayFile, current, day_files, paths, real, schema
from wayfare.snapshots.extraction import extract
from wayfare.snapshots.references import REFERENCE_COLUMNS

__all__ = ["REFERENCE_COLUMNS", "DayFile", "current", "day_files", "extract", "paths", "real", "schema"]
