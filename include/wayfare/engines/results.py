"""Running an analysis on a chunk and writing its result."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING

from wayfare import storage
from wayfare.analyses import registry
from wayfare.engines.frames import answer, days_of, inputs
from wayfare.engines.on_duckdb import DuckFrames
from wayfare.engines.sessions import session
from wayfare.errors import DataError, DeclarationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb
    from duckdb.sqltypes import DuckDBPyType

    from wayfare.analyses.api import BehaviorAnalysis, SqlType
    from wayfare.analyses.chunk import Chunk
    from wayfare.engines.frames import Frames
    from wayfare.settings import Settings


_READABLE = {
    "date": "DATE '0001-01-01' AND DATE '9999-12-31'",
    "timestamptz": "TIMESTAMPTZ '0001-01-01 00:00:00+00' AND TIMESTAMPTZ '9999-12-31 23:59:59.999999+00'",
}
"""What a mart's rows may hold, in SQL: PostgreSQL keeps more, but writes it as nobody reads it."""


def analyze(settings: Settings, chunk: Chunk) -> dict[str, int]:
    """Run the chunk's analysis over its day files and write `result.parquet`: the mart's columns, ordered by grain.

    Rows of other days than the chunk's are dropped. A second run replaces the file.

    Returns
    -------
    dict
        `rows` written.

    Raises
    ------
    DeclarationError
        The analysis returns no frame or other columns than its mart declares, or asks for what is not there.
    DataError
        A value does not fit its mart column, such as a fraction one of whole numbers; is a date before the year 1 or
        after 9999; or cannot be computed with.
    ConfigurationError
        The analysis needs more memory than the settings give it.
    ServiceError
        PostgreSQL or the Spark server does not answer.
    """
    analysis = registry.get(chunk.analysis)
    url = chunk.result(settings.storage)
    with session(settings) as connection, _frames(settings, connection, url) as frames:
        given = inputs(connection, settings, chunk, frames)
        with answer(analysis, "analyze", given) as frame:
            found = frames.to_relation(frame)
            _check_columns(analysis, found.columns)
            rows = _mart_rows(connection, analysis, found, chunk)
            storage.write_atomic(url, lambda temporary: _write(connection, analysis, rows, temporary))
        ((n,),) = connection.read_parquet(url).aggregate("count(*)").fetchall()
    return {"rows": int(n)}


@contextlib.contextmanager
def _frames(settings: Settings, connection: duckdb.DuckDBPyConnection, url: str) -> Iterator[Frames]:
    """The frames of the settings' engine; what they write beside the result's `url` is removed at the end."""
    if settings.engine == "duckdb":
        yield DuckFrames(connection)
        return
    from wayfare.engines.on_spark import SparkFrames, spark_session

    folder = f"{url}.{secrets.token_hex(6)}.parts"
    try:
        with spark_session(settings) as spark:
            yield SparkFrames(spark, connection, folder)
    finally:
        storage.remove(folder)


def _mart_rows(
    connection: duckdb.DuckDBPyConnection,
    analysis: BehaviorAnalysis,
    found: duckdb.DuckDBPyRelation,
    chunk: Chunk,
) -> duckdb.DuckDBPyRelation:
    """The rows of the chunk's days, with the mart's columns and types, ordered by grain."""
    mart = analysis.mart
    types = dict(zip(found.columns, found.types, strict=True))
    typed = found.project(", ".join(f'{_fitted(n, c.type, types[n])} AS "{n}"' for n, c in mart.all_columns.items()))
    days = connection.from_arrow(days_of(chunk)).project(f'output_on AS "{mart.day}"')
    grain = ", ".join(f'"{name}"' for name in mart.grain)
    return typed.set_alias("result").join(days.set_alias("days"), f'"{mart.day}"', how="semi").order(grain)


def _fitted(name: str, wanted: SqlType, given: DuckDBPyType) -> str:
    """SQL of a column of the result as its mart's type; a cast would round a fraction, and money with it."""
    cast = f'CAST("{name}" AS {wanted})'
    if wanted in {"bigint", "integer"} and given.id in {"float", "double", "decimal"}:
        refusal = f"error('mart column {name} has ' || \"{name}\" || ', which is not a whole number')"
        return f'CASE WHEN "{name}" <> trunc("{name}") THEN {refusal} ELSE {cast} END'
    return cast


def _write(
    connection: duckdb.DuckDBPyConnection, analysis: BehaviorAnalysis, rows: duckdb.DuckDBPyRelation, url: str
) -> None:
    """Write the rows, unless a date among them is one that could not be read back from the mart."""
    rows.write_parquet(url, compression="zstd")
    written = connection.read_parquet(url)
    for name, column in analysis.mart.all_columns.items():
        if column.type in _READABLE:
            beyond = written.filter(f'"{name}" NOT BETWEEN {_READABLE[column.type]}').project(f'"{name}"::text')
            for (value,) in beyond.limit(1).fetchall():
                raise DataError(
                    f"analysis {analysis.name}: mart column {name} has {value}, which is outside the years 1 to 9999; "
                    "write NULL where it is not known"
                )


def _check_columns(analysis: BehaviorAnalysis, found: list[str]) -> None:
    declared = list(analysis.mart.all_columns)
    missing = [name for name in declared if name not in found]
    unknown = [name for name in found if name not in declared]
    if not missing and not unknown:
        return
    faults = [f"lacks {', '.join(missing)}"] if missing else []
    faults += [f"has {', '.join(unknown)}, which the mart does not declare"] if unknown else []
    raise DeclarationError(
        f"analysis {analysis.name}: what analyze returns {' and '.join(faults)}; end it with"
        f" .select({', '.join(map(repr, declared))}), or declare the columns in its mart"
    )
