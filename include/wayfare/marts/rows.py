"""How the rows of a result get into their mart: all of them, or what differs from the rows that stand."""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wayfare import storage
from wayfare.analyses.chunk import spans
from wayfare.engines import session
from wayfare.marts import schema
from wayfare.staging import bulk

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator

    import duckdb

    from wayfare.analyses.api import Mart
    from wayfare.settings import Settings

ROWS_AT_ONCE = 65_536

_AT = "ctid BETWEEN %(first)s AND %(last)s AND ctid = ANY (CAST(%(all)s AS tid[]))"
"""SQL condition of the rows at some places: the range is what is scanned, once for all pieces.

None moves while we hold the analysis's lock.
"""

_PLACE = "@place"
"""The column of a row's ctid: no declared column has such a name."""

_BLOCK_AND_LINE = f"CAST(translate(\"{_PLACE}\", '()', '[]') AS UINTEGER[])"

_ARROW = {
    "bigint": pa.int64(),
    "integer": pa.int32(),
    "double precision": pa.float64(),
    "text": pa.string(),
    "date": pa.date32(),
    "boolean": pa.bool_(),
    "timestamptz": pa.timestamp("us", "UTC"),
}


@dataclass(frozen=True)
class Publication:
    """The days that one transaction publishes of a mart, whose table is `marts.<name>`."""

    id: int
    name: str
    mart: Mart
    days: list[dt.date]

    @property
    def table(self) -> str:
        """The mart's table, quoted."""
        return f'marts."{self.name}"'

    @property
    def standing(self) -> str:
        """SQL condition of the days' rows that stand, by ranges so that the planner knows their share.

        Dates are literals, because COPY takes no parameters.
        """
        days = spans((day, day) for day in self.days)
        ranges = (f"\"{self.mart.day}\" BETWEEN DATE '{first}' AND DATE '{last}'" for first, last in days)
        return f"({' OR '.join(ranges)})"


class Result:
    """The rows of a result that belong to a publication's days, as a stream; a vintage's name the publication.

    `stored` is the schema of the declared columns. Once the stream is read, `rows` has the number of rows per day, and
    `twin` a key that two rows have, if any: the stream ends there. No index finds it, because a unique one would cost
    as much again as everything else.
    """

    def __init__(self, path: str, publication: Publication) -> None:
        self.rows: Counter[dt.date] = Counter()
        self.twin: dict[str, object] | None = None
        self._path, self._mart, self._id = path, publication.mart, publication.id
        self._days = pa.array(publication.days, pa.date32())
        self.stored = pa.schema([(n, _ARROW[c.type]) for n, c in self._mart.all_columns.items()])
        named = [pa.field("published_in", pa.int64())] if self._mart.vintage else []
        self._schema = pa.schema([*self.stored, *named])

    def stream(self) -> pa.RecordBatchReader:
        """The rows in order of the grain; to be read once."""
        return pa.RecordBatchReader.from_batches(self._schema, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        fs, path = storage.filesystem(self._path)
        grain = list(self._mart.grain)
        last_key = self.stored.empty_table().select(grain).to_batches()
        with fs.open(path) as file, pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(ROWS_AT_ONCE, columns=self.stored.names):
                kept = batch.filter(pc.is_in(batch[self._mart.day], self._days))
                kept = kept.select(self.stored.names).cast(self.stored)
                keys = pa.concat_batches([*last_key, kept.select(grain)])
                self.twin = _twin(keys)
                if self.twin:
                    return
                last_key = [keys.slice(max(0, keys.num_rows - 1))]
                for day in pc.value_counts(kept[self._mart.day]):
                    self.rows[day["values"].as_py()] += day["counts"].as_py()
                named = [pa.repeat(self._id, kept.num_rows)] if self._mart.vintage else []
                yield pa.record_batch([*kept.columns, *named], schema=self._schema)


def _twin(keys: pa.RecordBatch) -> dict[str, object] | None:
    """The first key that equals the one before it; keys come in order."""
    same = functools.reduce(pc.and_, (pc.equal(c.slice(1), c.slice(0, max(0, len(c) - 1))) for c in keys.columns))
    place = pc.index(same, True).as_py()
    twin: dict[str, object] | None = keys.slice(place, 1).to_pylist()[0] if place >= 0 else None
    return twin


def replace(cursor: Any, publication: Publication, result: Result) -> None:
    """Put the result in place of all rows of the days."""
    _take_away(cursor, publication, publication.standing)
    bulk.copy_in(cursor, publication.table, result.stream())


def revise(settings: Settings, cursor: Any, publication: Publication, result: Result) -> None:
    """Take away the rows of the days that changed or vanished, and append the changed and new ones.

    Rows that stay as they are, are not touched.
    """
    table, standing = publication.table, publication.standing
    cursor.execute(f"SELECT EXISTS (SELECT FROM {table} WHERE {standing})")  # noqa: S608 - declared names
    if cursor.fetchone() == (False,):
        bulk.copy_in(cursor, publication.table, result.stream())
        return
    columns = schema.quoted(publication.mart.all_columns)
    select = f"SELECT ctid, {columns} FROM {table} WHERE {standing}"  # noqa: S608 - declared names
    with session(settings) as connection:
        with bulk.copy_out(cursor, select, result.stored.insert(0, pa.field(_PLACE, pa.string()))) as rows:
            connection.register("standing", rows)
            connection.register("result", result.stream())
            connection.execute(f"CREATE TEMP TABLE difference AS {_difference(publication.mart)}")
        taken = f'"{_PLACE}" FROM difference WHERE "{_PLACE}" IS NOT NULL ORDER BY {_BLOCK_AND_LINE}'
        for places in _read(connection, taken):
            _take_away(cursor, publication, _AT, **_bounds(places[_PLACE].to_pylist()))
        grain, fresh = schema.quoted(publication.mart.grain), f'"{publication.mart.day}" IS NOT NULL'
        appended = f'* EXCLUDE ("{_PLACE}") FROM difference WHERE {fresh} ORDER BY {grain}'
        bulk.copy_in(cursor, publication.table, _read(connection, appended))


def _difference(mart: Mart) -> str:
    """DuckDB SQL for rows that differ: the place of one that stands, the columns of one to come, or both."""

    def same(names: Iterable[str]) -> str:
        return " AND ".join(["true", *(f'standing."{n}" IS NOT DISTINCT FROM result."{n}"' for n in names)])

    return f"""
        SELECT "{_PLACE}", result.* FROM standing FULL JOIN result ON {same(mart.grain)}
        WHERE "{_PLACE}" IS NULL OR result."{mart.day}" IS NULL OR NOT ({same(mart.columns)})
    """  # noqa: S608 - declared names


def _read(connection: duckdb.DuckDBPyConnection, select: str) -> pa.RecordBatchReader:
    return connection.sql(f"SELECT {select}").to_arrow_reader(ROWS_AT_ONCE)


def _bounds(places: list[str]) -> dict[str, str]:
    """The parameters of `_AT` for places (ctid) in order."""
    listed = ",".join(f'"{place}"' for place in places)
    return {"first": places[0], "last": places[-1], "all": f"{{{listed}}}"}


def _take_away(cursor: Any, publication: Publication, condition: str, **parameters: str) -> None:
    """Delete the rows of a restated mart; of a vintage, move them to those that are closed.

    Copied first and deleted then, which takes two thirds of the time of inserting what a deletion returns; whoever
    holds the analysis's lock finds the same rows twice.
    """
    if publication.mart.vintage:
        columns = schema.quoted([*publication.mart.all_columns, "published_in"])
        close = f"""
            INSERT INTO marts."{schema.superseded(publication.name)}" ({columns}, superseded_in)
            SELECT {columns}, %(id)s FROM {publication.table} WHERE {condition}
        """  # noqa: S608 - declared names and days
        cursor.execute(close, {**parameters, "id": publication.id})
    delete = f"DELETE FROM {publication.table} WHERE {condition}"  # noqa: S608 - declared names and days
    cursor.execute(delete, parameters)
