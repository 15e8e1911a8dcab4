"""Running an analysis on a chunk and writing its result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import narwhals as nw

from wayfare import storage
from wayfare.analyses import registry
from wayfare.engines.frames import inputs
from wayfare.engines.sessions import session
from wayfare.errors import ConfigurationError, DataError, DeclarationError

if TYPE_CHECKING:
    from wayfare.analyses.api import BehaviorAnalysis, Inputs
    from wayfare.analyses.chunk import Chunk
    from wayfare.settings import Settings


def result_url(settings: Settings, chunk: Chunk) -> str:
    """Where the result of `chunk` is."""
    return f"{chunk.folder(settings.storage)}/result.parquet"


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
        The analysis returns other columns than its mart declares.
    DataError
        A value does not fit its mart column.
    ConfigurationError
        The analysis needs more memory than the settings give it.
    ServiceError
        PostgreSQL does not answer.
    """
    analysis = registry.get(chunk.analysis)
    with session(settings) as connection:
        given = inputs(connection, settings, chunk)
        url = result_url(settings, chunk)
        try:
            result = _mart_rows(connection, analysis, given)
            storage.write_atomic(url, lambda temporary: result.write_parquet(temporary, compression="zstd"))
        except duckdb.OutOfMemoryException as error:
            raise ConfigurationError(
                f"analysis {analysis.name}: {settings.duckdb_memory_limit} of memory is too little; raise"
                f" WAYFARE_DUCKDB_MEMORY_LIMIT or lower WAYFARE_CHUNK_ROWS: {error}"
            ) from error
        except (duckdb.ConversionException, duckdb.OutOfRangeException) as error:
            raise DataError(f"analysis {analysis.name}: a value does not fit its mart column: {error}") from error
        ((rows,),) = connection.read_parquet(url).aggregate("count(*)").fetchall()
    return {"rows": int(rows)}


def _mart_rows(
    connection: duckdb.DuckDBPyConnection, analysis: BehaviorAnalysis, given: Inputs
) -> duckdb.DuckDBPyRelation:
    """The analysis's rows of the chunk's days, with the mart's columns and types, ordered by grain."""
    mart = analysis.mart
    found = _relation(connection, analysis.analyze(given))
    _check_columns(analysis, found.columns)
    typed = found.project(", ".join(f'CAST("{n}" AS {c.type}) AS "{n}"' for n, c in mart.all_columns.items()))
    days = nw.to_native(given.days).project(f'output_on AS "{mart.day}"')
    grain = ", ".join(f'"{name}"' for name in mart.grain)
    ordered: duckdb.DuckDBPyRelation = (
        typed.set_alias("result").join(days.set_alias("days"), mart.day, how="semi").order(grain)
    )
    return ordered


def _relation(connection: duckdb.DuckDBPyConnection, frame: nw.LazyFrame[Any] | nw.DataFrame[Any]) -> Any:
    """The frame as a relation; one that left DuckDB (for pandas, say) comes back through Arrow."""
    native = nw.to_native(frame)
    if isinstance(native, duckdb.DuckDBPyRelation):
        return native
    return connection.from_arrow(nw.from_native(native, eager_only=True).to_arrow())


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
