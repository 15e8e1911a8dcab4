"""The frames an analysis is given: lazy, over the chunk's day files, without tests and quarantined events."""

from __future__ import annotations

import functools
import secrets
from typing import TYPE_CHECKING, Any

import duckdb
import narwhals as nw
import pyarrow as pa
from sqlalchemy import func, select

from wayfare import snapshots, storage
from wayfare.analyses import registry
from wayfare.analyses.api import Inputs
from wayfare.contracts import reference
from wayfare.engines.rates import rates
from wayfare.staging.database import transaction
from wayfare.staging.tables import change

if TYPE_CHECKING:
    import datetime as dt

    from wayfare.analyses.chunk import Chunk
    from wayfare.contracts import EventType
    from wayfare.settings import Settings


def inputs(connection: duckdb.DuckDBPyConnection, settings: Settings, chunk: Chunk) -> Inputs:
    """What `chunk` reads, as lazy frames on `connection`; its day files must have been extracted.

    Raises
    ------
    ServiceError
        PostgreSQL does not answer.
    """
    analysis = registry.get(chunk.analysis)
    files = snapshots.paths(settings, chunk)
    quarantine = f"{chunk.folder(settings.storage)}/quarantine.parquet"
    quarantined = connection.read_parquet(quarantine) if storage.exists(quarantine) else None
    horizon = _horizon(settings, chunk) or chunk.days[-1]
    days = pa.table({"output_on": pa.array(chunk.days, pa.date32())})
    return Inputs(
        events={e.name: _frame(_events(connection, e, files[e.name], quarantined)) for e in analysis.reads},
        days=_frame(connection.from_arrow(days)),
        rates=_frame(rates(connection, settings, max(horizon, chunk.days[-1]))),
        places=_frame(connection.from_arrow(reference.places())),
        first_on=chunk.days[0],
        last_on=chunk.days[-1],
        horizon=horizon,
        service_level=settings.service_level,
        frame=lambda table: _frame(connection.from_arrow(table)),
        keep=functools.partial(_kept, connection),
    )


def _kept(connection: duckdb.DuckDBPyConnection, frame: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """The frame as a table of the session, which spills where `materialize` would hold it in memory."""
    name = f"kept_{secrets.token_hex(8)}"
    nw.to_native(frame).create(name)
    return _frame(connection.table(name))


def _frame(relation: duckdb.DuckDBPyRelation) -> nw.LazyFrame[Any]:
    return nw.from_native(relation)


def _events(
    connection: duckdb.DuckDBPyConnection,
    event_type: EventType,
    files: list[str],
    quarantined: duckdb.DuckDBPyRelation | None,
) -> duckdb.DuckDBPyRelation:
    """The events of one type with today's columns, whatever contract revision each file was written under."""
    empty = connection.from_arrow(snapshots.schema(event_type).empty_table())
    source = connection.read_parquet(files, union_by_name=True) if files else empty
    present = set(source.columns)
    typed = (
        f'CAST("{name}" AS {kind}) AS "{name}"' if name in present else f'CAST(NULL AS {kind}) AS "{name}"'
        for name, kind in zip(empty.columns, empty.types, strict=True)
    )
    events = source.project(", ".join(typed)).filter("is_test IS NOT TRUE")
    if event_type.refers:
        events = events.filter("item_is_test IS NOT TRUE")
    if quarantined is not None:
        name = duckdb.ConstantExpression(event_type.name)
        left_out = quarantined.filter(duckdb.ColumnExpression("event_type") == name).project("event_id")
        events = events.set_alias("events").join(left_out.set_alias("left_out"), "event_id", how="anti")
    return events


def _horizon(settings: Settings, chunk: Chunk) -> dt.date | None:
    """Last day, as of the chunk's batch, with an event of the types its analysis reads."""
    names = [e.name for e in registry.get(chunk.analysis).reads]
    last = select(func.max(change.c.event_on)).where(
        change.c.event_type.in_(names), change.c.batch_id <= chunk.through_batch
    )
    with transaction(settings.url("pipeline")) as connection:
        found: dt.date | None = connection.scalar(last)
        return found
