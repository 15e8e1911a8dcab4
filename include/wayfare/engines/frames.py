"""What an analysis is given: lazy frames over the chunk's day files, without tests and quarantined events."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING, Any, Literal, Protocol

import duckdb
import narwhals as nw
import pyarrow as pa
from sqlalchemy import exists, func, select

from wayfare import snapshots, storage
from wayfare.analyses import registry
from wayfare.analyses.api import Inputs
from wayfare.contracts import reference
from wayfare.engines.on_duckdb import DuckFrames
from wayfare.engines.rates import rates
from wayfare.errors import DataError, DeclarationError
from wayfare.staging.database import transaction
from wayfare.staging.tables import change, quarantine

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Collection, Iterable, Iterator

    from wayfare.analyses.api import BehaviorAnalysis, Keep
    from wayfare.analyses.chunk import Chunk
    from wayfare.contracts import EventType
    from wayfare.settings import Settings

REPEATED_ROWS = 100_000_000
"""Input rows times output days that an analysis may hold at once: about a gigabyte."""


class Frames(Protocol):
    """All that engines do differently: how a lazy frame comes to be, is kept, and goes back to DuckDB."""

    def of_table(self, table: pa.Table) -> nw.LazyFrame[Any]:
        """The rows of an Arrow table."""

    def of_relation(self, relation: duckdb.DuckDBPyRelation) -> nw.LazyFrame[Any]:
        """The rows of a DuckDB relation."""

    def of_events(self, event_type: EventType, files: list[str], quarantine: str | None) -> nw.LazyFrame[Any]:
        """The events in day files, typed, without tests and without what the `quarantine` file names."""

    def kept(self, frames: Iterable[nw.LazyFrame[Any]], name: str) -> nw.LazyFrame[Any]:
        """The rows of all the frames as one, each computed once, when it comes; kept under a new name."""

    def forget(self, names: Collection[str]) -> None:
        """Free what was kept under these names."""

    def to_relation(self, frame: nw.LazyFrame[Any] | nw.DataFrame[Any]) -> duckdb.DuckDBPyRelation:
        """The frame as a DuckDB relation."""


def inputs(
    connection: duckdb.DuckDBPyConnection, settings: Settings, chunk: Chunk, frames: Frames | None = None
) -> Inputs:
    """What `chunk` reads, as lazy frames (DuckDB's, without `frames`); its day files must have been extracted.

    Raises
    ------
    DataError
        Events were set aside, and what was set aside is gone.
    ServiceError
        PostgreSQL does not answer.
    """
    made = frames or DuckFrames(connection)
    analysis = registry.get(chunk.analysis)
    files = snapshots.paths(settings, chunk)
    set_aside = _set_aside(settings, chunk)
    horizon, rows = _extent(settings, chunk)
    return Inputs(
        events={e.name: made.of_events(e, files[e.name], set_aside) for e in analysis.reads},
        days=made.of_table(days_of(chunk)),
        rates=made.of_relation(rates(connection, settings, max(horizon, chunk.days[-1]))),
        places=made.of_table(reference.places()),
        first_on=chunk.days[0],
        last_on=chunk.days[-1],
        horizon=horizon,
        service_level=settings.service_level,
        frame=made.of_table,
        keep_all=lambda parts: made.kept(parts, _name()),
        keeping=lambda _: keeping(made),
        days_at_once=_days_at_once(rows),
    )


@contextlib.contextmanager
def answer(
    analysis: BehaviorAnalysis, function: Literal["analyze", "totals"], given: Inputs
) -> Iterator[nw.LazyFrame[Any] | nw.DataFrame[Any]]:
    """What a function of an analysis returns, which is computed in the context: that is when it is found wrong.

    Raises
    ------
    DeclarationError
        It returns no frame, asks for what is not there, or is not a query.
    DataError
        A value does not fit where it is put, or cannot be computed with.
    """
    where = f"analysis {analysis.name}: {function}"
    try:
        frame = getattr(analysis, function)(given)
        if not isinstance(frame, nw.LazyFrame | nw.DataFrame):
            raise DeclarationError(f"{where} returns {type(frame).__name__}; end it with `return` and a Narwhals frame")
        yield nw.maybe_reset_index(frame)  # pandas' would come along as a column
    except (duckdb.BinderException, duckdb.CatalogException) as error:
        raise DeclarationError(f"{where} asks for what is not there: {error}") from error
    except nw.exceptions.NarwhalsError as error:  # of a column that is not there; it names the others
        raise DeclarationError(f"{where} asks for what is not there: {error.__context__ or error}") from error
    except (duckdb.ConversionException, duckdb.OutOfRangeException) as error:
        raise DataError(f"{where}: a value does not fit its column: {error}") from error
    except duckdb.InvalidInputException as error:  # a text that is not a date, or a pattern that is not one
        raise DataError(f"{where} cannot be computed: {error}; correct it, or make it handle such values") from error
    except (duckdb.ProgrammingError, duckdb.NotSupportedError) as error:
        raise DeclarationError(f"{where} cannot be computed: {error}") from error


@contextlib.contextmanager
def keeping(frames: Frames) -> Iterator[Keep]:
    """A `keep_all` of its own; what it keeps is gone when the context ends."""
    names: list[str] = []

    def keep_all(parts: Iterable[nw.LazyFrame[Any]]) -> nw.LazyFrame[Any]:
        names.append(_name())
        return frames.kept(parts, names[-1])

    yield keep_all
    frames.forget(names)


def days_of(chunk: Chunk) -> pa.Table:
    """The output days of a chunk, as `output_on`."""
    return pa.table({"output_on": pa.array(chunk.days, pa.date32())})


def _name() -> str:
    return f"kept_{secrets.token_hex(8)}"


def _days_at_once(rows: int) -> int:
    """Output days for which `rows` are repeated at once: all where that is little, as planning is paid each time."""
    most = REPEATED_ROWS // max(1, rows)
    return max(1, min(Inputs.days_at_once, most), most // 10)


def _set_aside(settings: Settings, chunk: Chunk) -> str | None:
    """Where the events are that validation set aside; None where nothing was validated."""
    url = chunk.quarantine(settings.storage)
    if storage.exists(url):
        return url
    here = quarantine.c.event_on.between(*_window(chunk)) & (quarantine.c.through_batch == chunk.through_batch)
    with transaction(settings.url("pipeline")) as connection:
        if connection.scalar(select(exists().where(quarantine.c.analysis == chunk.analysis, here))):
            raise DataError(
                f"{url} is missing, though events were set aside: run the validate step of this chunk again"
            )
    return None


def _extent(settings: Settings, chunk: Chunk) -> tuple[dt.date, int]:
    """As of the chunk's batch: last day with an event of the types its analysis reads, and how many it reads."""
    is_read = change.c.event_on.between(*_window(chunk))
    found = select(func.max(change.c.event_on), func.sum(change.c.rows).filter(is_read)).where(
        change.c.event_type.in_([e.name for e in registry.get(chunk.analysis).reads]),
        func.coalesce(change.c.first_batch_id, change.c.batch_id) <= chunk.through_batch,
    )
    with transaction(settings.url("pipeline")) as connection:
        horizon, rows = connection.execute(found).one()
        return horizon or chunk.days[-1], int(rows or 0)


def _window(chunk: Chunk) -> tuple[dt.date, dt.date]:
    """First and last day of what a chunk reads."""
    analysis = registry.get(chunk.analysis)
    return analysis.reads_of(chunk.days[0])[0], analysis.reads_of(chunk.days[-1])[1]
